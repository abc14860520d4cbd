"""Check that a client reaches its server, before Flower starts; each error says the reason and the remedy."""

import datetime
import email.utils
import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mosaic_fl.errors import MosaicError, UsageError

HELLO = "/mosaic/hello"  # answers with the server's version and the fingerprints of the registered keys
TIMEOUT = 10.0  # seconds for each of connecting, the handshake and the answer
# Flower accepts a signature from 305 s before to 5 s after the server's clock. The answer's date has whole seconds.
AHEAD = 5.0
BEHIND = 300.0
# OpenSSL's X509_V_ERR_*
NOT_YET_VALID = 9
EXPIRED = 10
WRONG_HOST = 62
WRONG_ADDRESS = 64
LARGEST = 1 << 20  # bytes of an answer


class UnreachableError(MosaicError):
    """There is no answer at the server's address."""


@dataclass(frozen=True)
class Answer:
    """The server's version and the fingerprints of its registered keys; None if its answer has none (no proxy)."""

    version: str | None = None
    keys: frozenset[str] | None = None


def ask(host: str, port: int, ca: Path | None) -> Answer:
    """Send a request to the server; `ca` is the certificate of its authority, None for a connection without TLS.

    Raises UnreachableError without an answer, and UsageError if the server cannot be trusted (wrong authority, expired
    certificate, wrong host name) or if this machine's clock is wrong.
    """
    address = f"{host}:{port}"
    try:
        plain = socket.create_connection((host, port), TIMEOUT)
    except OSError as error:
        raise UnreachableError(f"the server at {address} does not answer ({error.strerror or error})") from error
    with plain:
        try:
            answer = _get(_start_tls(plain, host, ca, address) if ca else plain, address)
        except (OSError, http.client.HTTPException) as error:
            tls = "" if ca else "; it may ask for TLS: leave out --insecure"
            raise UnreachableError(
                f"the server at {address} broke off ({error or type(error).__name__}){tls}"
            ) from error
    return answer


def _start_tls(plain: socket.socket, host: str, ca: Path, address: str) -> socket.socket:
    try:
        context = ssl.create_default_context(cafile=str(ca))
    except ssl.SSLError as error:
        raise UsageError(f"{ca} is not a certificate (PEM): ask the server's operator for ca.crt") from error
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise UsageError(_distrust_reason(error, host, ca, address)) from error
    except ssl.SSLError as error:
        if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
            raise UsageError(f"{address} does not speak TLS: is this the port of mosaic deploy server?") from error
        raise UnreachableError(f"no TLS connection to {address}: {error.reason}") from error


def _distrust_reason(error: ssl.SSLCertVerificationError, host: str, ca: Path, address: str) -> str:
    now = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC"
    if error.verify_code == EXPIRED:
        return f"the certificate of {address} has expired (the clock here says {now}): its operator renews it"
    if error.verify_code == NOT_YET_VALID:
        return f"the certificate of {address} is not valid yet, and the clock here says {now}: is it right?"
    if error.verify_code in (WRONG_HOST, WRONG_ADDRESS):
        return f"the certificate of {address} is not for {host}: use the name it is for, or have {host} put into it"
    return (
        f"the certificate of {address} was not signed by {ca}: ask the server's operator for the ca.crt of this server"
    )


def _get(connection: socket.socket, address: str) -> Answer:
    with connection:
        request = f"GET {HELLO} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode("ascii", "replace"))
        response = http.client.HTTPResponse(connection)
        response.begin()
        content = response.read(LARGEST)
    if date := response.getheader("Date"):
        _require_same_clock(date, address)
    if response.status != http.client.OK:
        return Answer()
    try:
        values = json.loads(content)
    except ValueError:
        return Answer()
    return _answer(values) if isinstance(values, Mapping) else Answer()


def _answer(values: Mapping[str, Any]) -> Answer:
    """The answer without values of a wrong type: a server may send anything."""
    version = values.get("mosaic_fl")
    keys = values.get("keys")
    return Answer(
        version if isinstance(version, str) else None,
        frozenset(key for key in keys if isinstance(key, str)) if isinstance(keys, list) else None,
    )


def _require_same_clock(date: str, address: str) -> None:
    """Raise UsageError if the clock here differs too much from the server's `date`."""
    try:
        server = email.utils.parsedate_to_datetime(date)
        ahead = (datetime.datetime.now(datetime.UTC) - server).total_seconds() - 1.0  # the date is rounded down
    except (ValueError, TypeError):
        return
    if not -BEHIND < ahead < AHEAD:
        (minutes, seconds) = divmod(round(abs(ahead)), 60)
        direction = "ahead of" if ahead > 0 else "behind"
        raise UsageError(
            f"the clock here is {minutes} min {seconds} s {direction} that of {address}, which refuses signatures "
            f"when it is {AHEAD:.0f} s ahead or {BEHIND:.0f} s behind: set it (timedatectl set-ntp true)"
        )
