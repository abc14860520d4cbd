"""The process of the proxy: proxy_server.py FACE.json. It runs uvicorn and adds the limits that uvicorn lacks.

Strangers can reach only this process. A connection has seconds for its TLS handshake and for the head of a request,
and minutes for the whole exchange. The size of heads and the numbers of connections and open files are limited.
"""

import asyncio
import resource
import ssl
import sys
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from mosaic_fl.deploy.proxy import LONGEST_HEAD, Face
from mosaic_fl.deploy.proxy_app import PIECE, ProxyApp

KEEP_ALIVE = 8  # seconds of an idle connection: a node closes it after 5, and the head of a request has 10
GOODBYE = 1  # seconds for running exchanges when this process ends
SPARE_FILES = 128  # open files for the connections to the hub, and for Python


class Connection(H11Protocol):
    """uvicorn's HTTP connection with a time limit: it is cut off even if bytes still arrive, one by one."""

    face: Face  # of the whole process: `serving` makes a subclass with it
    begin = 0.0  # the loop's time at which it became idle; infinite during a request
    _clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """After the TLS handshake; if there are too many connections, cut the one that has been idle for longest."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(PIECE)  # an answer counts as sent when all but this is sent
        self._wait_for_a_request()
        if len(self.connections) > self.face.connections:
            idle = min(self.connections, key=lambda connection: getattr(connection, "begin", 0.0))
            assert isinstance(idle, Connection)
            idle.cut()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock with the connection."""
        self._set(None)
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Handle received bytes; the complete head of a request begins an exchange."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self.begin = float("inf")
            self._set(self.face.exchange)

    def on_response_complete(self) -> None:
        """After the answer, the connection has its seconds for the next request."""
        self._wait_for_a_request()
        super().on_response_complete()

    def cut(self) -> None:
        """End the connection now, even if bytes are unsent."""
        self.connections.discard(self)
        self.transport.abort()

    def _wait_for_a_request(self) -> None:
        self.begin = self.loop.time()
        self._set(self.face.head)

    def _set(self, seconds: float | None) -> None:
        if self._clock:
            self._clock.cancel()
        self._clock = None if seconds is None else self.loop.call_later(seconds, self.cut)


class _Loop(asyncio.SelectorEventLoop):
    """asyncio's loop with two changes that uvicorn has no setting for.

    A TLS handshake has `seconds` instead of 60 s, and a repeated fault (as too many open files) is printed once.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.messages = set[str]()
        self.set_exception_handler(lambda _, context: self.tell(context))
        self.times = {"ssl_handshake_timeout": seconds, "ssl_shutdown_timeout": seconds}

    async def create_server(self, *arguments: Any, **options: Any) -> Any:
        """As asyncio's `create_server`, with the time limits."""
        return await super().create_server(*arguments, **{**options, **self.times})

    def tell(self, context: dict[str, Any]) -> None:
        """Print an unhandled fault, unless it was printed before."""
        if (message := str(context.get("message"))) not in self.messages:
            self.messages.add(message)
            self.default_exception_handler(context)


def serving(face: Face) -> uvicorn.Config:
    """The configuration of uvicorn."""
    return uvicorn.Config(
        ProxyApp(face),
        host=face.host,
        port=face.port,
        # The strict one of uvicorn's two parsers, which bounds heads.
        http=type("Connection", (Connection,), {"face": face}),
        h11_max_incomplete_event_size=LONGEST_HEAD,
        ws="none",
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_level="error",  # requests of strangers must not fill the disk
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GOODBYE,
        ssl_context_factory=lambda *_: tls(face),
    )


def tls(face: Face) -> ssl.SSLContext:
    """The TLS context of the server, for TLS 1.2 or newer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.load_cert_chain(face.certificate, face.key)
    return context


def main() -> None:
    """Serve until a signal ends this process."""
    face = Face.read(Path(sys.argv[1]))
    # asyncio holds 256 KiB for a connection from its first byte on, so the open files are limited too.
    _, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = 2 * face.connections + SPARE_FILES
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (files if maximum == resource.RLIM_INFINITY else min(files, maximum), maximum)
    )
    with asyncio.Runner(loop_factory=partial(_Loop, face.head)) as runner:
        runner.run(uvicorn.Server(serving(face)).serve())


if __name__ == "__main__":
    main()
