"""What passes the proxy: ten calls of a registered node, by their exact names; one page it has itself; no more.

A request is refused by its head alone, before its body is read: a stranger can make this process keep no body. What
passes is written anew for the hub, with an address from the list here, a body of known length and the headers that a
node needs; there is no other way to write a call that is not meant.
"""

import base64
import binascii
import json
import ssl
import sys
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any

import httpx
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mosaic_fl.deploy.proxy import FLEET, LARGEST, LONGEST_HEAD, Face, hello
from mosaic_fl.deploy.reach import HELLO

Scope = MutableMapping[str, Any]  # of ASGI, https://asgi.readthedocs.io/en/latest/specs/www.html
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

CALLS = {f"/v1/fleet/{call}".encode(): f"/v1/fleet/{call}" for call in FLEET}
PAGE = HELLO.encode()
PUBLIC_KEY = b"flwr-public-key"
SIGNATURE = b"flwr-signature"
TIMESTAMP = b"flwr-timestamp"
PIECE = 64 << 10  # bytes of an answer that are sent at once: the next ones wait until a slow client has taken these
HUB_TIMES = httpx.Timeout(300.0, connect=10.0, pool=60.0)  # seconds
# The hub closes an idle connection after 5 s: it must not be taken up again at that moment.
HUB_CONNECTIONS = httpx.Limits(max_connections=128, max_keepalive_connections=16, keepalive_expiry=3.0)


@dataclass(frozen=True)
class Answer:
    """A whole answer; `stays` says whether the connection may bring another request."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ((b"content-type", b"text/plain"),)
    stays: bool = False

    async def send(self, send: Send) -> None:
        """Send it by ASGI."""
        more = [(b"content-length", str(len(self.body)).encode())]
        more += [] if self.stays else [(b"connection", b"close")]
        await send({"type": "http.response.start", "status": self.status, "headers": [*self.headers, *more]})
        for start in range(0, len(self.body), PIECE):
            piece = self.body[start : start + PIECE]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})


class _TooLargeError(Exception):
    """A body of more than `LARGEST` bytes."""


class _GoneError(Exception):
    """The client has gone before its request was whole."""


class ProxyApp:
    """The ASGI application of the proxy."""

    def __init__(self, face: Face) -> None:
        self.hello = Answer(200, hello(face.clients).encode(), ((b"content-type", b"application/json"),))
        self.clients = dict(_client(pem) for pem in face.clients.values())
        trust = ssl.create_default_context(cafile=face.hub_ca)
        self.hub = httpx.AsyncClient(
            base_url=f"https://127.0.0.1:{face.hub}", verify=trust, trust_env=False, follow_redirects=False,
            timeout=HUB_TIMES, limits=HUB_CONNECTIONS, headers={"accept-encoding": "identity"},
        )  # fmt: skip
        self.silent = False  # whether the hub did not answer the last time

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            answer = refusal(scope) or await self._let_in(scope, receive)
        except _TooLargeError:
            answer = Answer(413)
        except _GoneError:
            return
        await answer.send(send)

    async def _let_in(self, scope: Scope, receive: Receive) -> Answer:
        """The answer to a request for one of `CALLS` or `PAGE`."""
        path = scope["raw_path"]
        if path == PAGE:
            return self.hello
        if not self.is_clients(scope["headers"]):
            detail = json.dumps({"detail": "no signature of a client's key that this server knows"})
            return Answer(401, detail.encode(), ((b"content-type", b"application/json"),))
        passed = [(name, value) for name, value in scope["headers"] if _is_passed(name)]
        return await self._ask_hub(CALLS[path], passed, await _body(scope["headers"], receive))

    def is_clients(self, headers: Headers) -> bool:
        """Whether a registered key has signed the request's time, which the hub compares with its own clock.

        The hub looks at all this again; here it spares it, and this process, the bodies of strangers.
        """
        given = dict(headers)
        key = self.clients.get(given.get(PUBLIC_KEY, b""))
        if key is None:
            return False
        try:
            signature = base64.b64decode(given.get(SIGNATURE, b""), validate=True)
            key.verify(signature, given.get(TIMESTAMP, b""), ec.ECDSA(hashes.SHA256()))
        except (binascii.Error, InvalidSignature):
            return False
        return True

    async def _ask_hub(self, path: str, headers: list[tuple[bytes, bytes]], body: bytes) -> Answer:
        try:
            reply = await self.hub.post(path, headers=headers, content=body)
        except httpx.HTTPError as error:
            if not self.silent:  # once, however many ask
                print(f"the hub does not answer: {type(error).__name__} {error}", file=sys.stderr, flush=True)
            self.silent = True
            return Answer(502)
        self.silent = False
        back = tuple((name.lower(), value) for name, value in reply.headers.raw if _is_passed(name.lower()))
        return Answer(reply.status_code, reply.content, back, stays=True)


def refusal(scope: Scope) -> Answer | None:
    """The answer to a request that asks for anything but what may pass; None where it does not.

    The path is compared as it was sent, byte for byte: nothing in it is decoded, joined or left out before.
    """
    path = scope["raw_path"]
    if scope["query_string"] or path not in CALLS.keys() | {PAGE}:
        return Answer(403)
    # The parser bounds a head that comes in pieces, not one that comes at once.
    if sum(len(name) + len(value) for name, value in scope["headers"]) > LONGEST_HEAD:
        return Answer(431)
    if scope["method"] != ("POST" if path in CALLS else "GET"):
        return Answer(405)
    return None


def _client(pem: str) -> tuple[bytes, ec.EllipticCurvePublicKey]:
    """A client's key as it stands in the header of its requests, and as it is."""
    key = serialization.load_pem_public_key(pem.encode("ascii"))
    assert isinstance(key, ec.EllipticCurvePublicKey)  # the server looked at it
    return base64.b64encode(pem.encode("ascii")), key


def _is_passed(name: bytes) -> bool:
    """Whether a header goes through the proxy, either way."""
    return name in (b"content-type", b"accept") or name.startswith(b"flwr-")


async def _body(headers: Headers, receive: Receive) -> bytes:
    """The whole body; raises _TooLargeError as soon as it is known to be too large."""
    length = dict(headers).get(b"content-length", b"0")  # digits: the parser has looked
    if int(length) > LARGEST:
        raise _TooLargeError
    body = bytearray()
    more = True
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise _GoneError
        body += event.get("body", b"")
        more = event.get("more_body", False)
        if len(body) > LARGEST:
            raise _TooLargeError
    return bytes(body)
