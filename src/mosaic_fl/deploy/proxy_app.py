"""The proxy's rules: it forwards ten calls of registered nodes, by their exact names, and answers one page itself.

A request is refused by its head, before its body is read, so that strangers cannot fill the memory with bodies. A
request that passes is written anew for the hub, with a path from the list below, a body of known length and the
headers that a node needs. So the hub never receives a request in another form.
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
PIECE = 64 << 10  # bytes of an answer that are sent at once; the next piece waits for a slow client
HUB_TIMES = httpx.Timeout(300.0, connect=10.0, pool=60.0)  # seconds
# The hub closes an idle connection after 5 s. Closing it earlier here avoids a request at that moment.
HUB_CONNECTIONS = httpx.Limits(max_connections=128, max_keepalive_connections=16, keepalive_expiry=3.0)


@dataclass(frozen=True)
class Answer:
    """A complete answer; `keep_alive` says whether the connection stays open for another request."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ((b"content-type", b"text/plain"),)
    keep_alive: bool = False

    async def send(self, send: Send) -> None:
        """Send it through ASGI."""
        more = [(b"content-length", str(len(self.body)).encode())]
        more += [] if self.keep_alive else [(b"connection", b"close")]
        await send({"type": "http.response.start", "status": self.status, "headers": [*self.headers, *more]})
        for start in range(0, len(self.body), PIECE):
            piece = self.body[start : start + PIECE]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})


class _TooLargeError(Exception):
    """A body of more than `LARGEST` bytes."""


class _DisconnectError(Exception):
    """The client has disconnected before the end of its request."""


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
        self.hub_silent = False  # whether the last request to the hub had no answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            answer = refusal(scope) or await self._forward(scope, receive)
        except _TooLargeError:
            answer = Answer(413)
        except _DisconnectError:
            return
        await answer.send(send)

    async def _forward(self, scope: Scope, receive: Receive) -> Answer:
        """The answer to a request for one of `CALLS` or `PAGE`."""
        path = scope["raw_path"]
        if path == PAGE:
            return self.hello
        if not self.is_signed(scope["headers"]):
            detail = json.dumps({"detail": "no signature of a client's key that this server knows"})
            return Answer(401, detail.encode(), ((b"content-type", b"application/json"),))
        headers = [(name, value) for name, value in scope["headers"] if _is_forwarded(name)]
        return await self._ask_hub(CALLS[path], headers, await _body(scope["headers"], receive))

    def is_signed(self, headers: Headers) -> bool:
        """Whether the request has its time signed by a registered key.

        The hub checks this again, and compares the time with its clock. The check here keeps the bodies of strangers
        away from both processes.
        """
        values = dict(headers)
        key = self.clients.get(values.get(PUBLIC_KEY, b""))
        if key is None:
            return False
        try:
            signature = base64.b64decode(values.get(SIGNATURE, b""), validate=True)
            key.verify(signature, values.get(TIMESTAMP, b""), ec.ECDSA(hashes.SHA256()))
        except (binascii.Error, InvalidSignature):
            return False
        return True

    async def _ask_hub(self, path: str, headers: list[tuple[bytes, bytes]], body: bytes) -> Answer:
        try:
            reply = await self.hub.post(path, headers=headers, content=body)
        except httpx.HTTPError as error:
            if not self.hub_silent:  # print it once, not for every request
                print(f"the hub does not answer: {type(error).__name__} {error}", file=sys.stderr, flush=True)
            self.hub_silent = True
            return Answer(502)
        self.hub_silent = False
        answer_headers = tuple(
            (name.lower(), value) for name, value in reply.headers.raw if _is_forwarded(name.lower())
        )
        return Answer(reply.status_code, reply.content, answer_headers, keep_alive=True)


def refusal(scope: Scope) -> Answer | None:
    """The answer that refuses a request by its head; None if the request may pass.

    The path is compared byte for byte as the client sent it: nothing in it is decoded or normalised before.
    """
    path = scope["raw_path"]
    if scope["query_string"] or path not in CALLS.keys() | {PAGE}:
        return Answer(403)
    # The parser bounds a head that arrives in pieces, but not one that arrives at once.
    if sum(len(name) + len(value) for name, value in scope["headers"]) > LONGEST_HEAD:
        return Answer(431)
    if scope["method"] != ("POST" if path in CALLS else "GET"):
        return Answer(405)
    return None


def _client(pem: str) -> tuple[bytes, ec.EllipticCurvePublicKey]:
    """A client's key in the form of its requests' header, and as a key object."""
    key = serialization.load_pem_public_key(pem.encode("ascii"))
    assert isinstance(key, ec.EllipticCurvePublicKey)  # the server has checked it
    return base64.b64encode(pem.encode("ascii")), key


def _is_forwarded(name: bytes) -> bool:
    """Whether the proxy forwards this header, of requests and of answers."""
    return name in (b"content-type", b"accept") or name.startswith(b"flwr-")


async def _body(headers: Headers, receive: Receive) -> bytes:
    """The complete body; raises _TooLargeError as soon as its length exceeds `LARGEST`."""
    length = dict(headers).get(b"content-length", b"0")  # digits only: the parser has checked it
    if int(length) > LARGEST:
        raise _TooLargeError
    body = bytearray()
    more = True
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise _DisconnectError
        body += event.get("body", b"")
        more = event.get("more_body", False)
        if len(body) > LARGEST:
            raise _TooLargeError
    return bytes(body)
