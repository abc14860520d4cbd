"""Whom the page of a run answers: programs of this machine that know its token.

A web page from elsewhere that a browser here has open reaches 127.0.0.1 too, by a name of its own that it lets point
there (DNS rebinding). Such a request has that name in its header Host, so other names than loopback's are refused. The
port there is free to differ: a tunnel (`ssh -L`) has another at this end.
"""

import hmac
import re
import secrets
from collections.abc import Sequence

HOST = "127.0.0.1"
NAMES = re.compile(r"(127\.0\.0\.1|localhost)(:\d{1,5})?", re.IGNORECASE)
BYTES = 24  # of the token: 32 letters


def new_token() -> str:
    """A random token for a URL, from the system's secure source."""
    return secrets.token_urlsafe(BYTES)


def refusal(path: str, hosts: Sequence[str], token: str) -> str:
    """Why a request for `path` is refused, as one line; empty where it is let in.

    `hosts` are its headers Host, of which it must have one. `path` must begin with the `token`.
    """
    if len(hosts) != 1 or NAMES.fullmatch(hosts[0].strip()) is None:
        return f"refused: this page is for {HOST} and localhost alone"
    first, _, _ = path.removeprefix("/").partition("/")
    if not hmac.compare_digest(first.encode("utf-8", "replace"), token.encode()):
        return "refused: the address has no token, or another one; `mosaic status --web` prints the whole address"
    return ""
