"""The process of the proxy: proxy_server.py FACE.json. uvicorn serves; what it has no bound for is bounded here.

Strangers reach this process alone. A connection has seconds for its TLS handshake and for the head of a request, and
minutes for the whole exchange; heads and connections are bounded, and open files with them.
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

KEEP_ALIVE = 8  # seconds that an idle connection stays: a node closes it after 5, a request's head has 10
GOODBYE = 1  # seconds for exchanges under way when this process is ended
SPARE_FILES = 128  # of the connections to the hub, and of Python


class Connection(H11Protocol):
    """uvicorn's HTTP connection with a clock: who does nothing useful in time is cut off, whatever trickles in."""

    face: Face  # of the whole process: `serving` makes a class that has it
    begin = 0.0  # when it last had no request under way, by the loop's clock; infinite while it has one
    _clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Its TLS handshake is done. Where there are too many, the one that has been idle for longest goes."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(PIECE)  # an answer is complete when all but this has left
        self._wait_for_a_request()
        if len(self.connections) > self.face.connections:
            idle = min(self.connections, key=lambda other: getattr(other, "begin", 0.0))
            assert isinstance(idle, Connection)
            idle.cut()

    def connection_lost(self, exc: Exception | None) -> None:
        """Its clock ends with it."""
        self._set(None)
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Whatever was received; the whole head of a request begins an exchange."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self.begin = float("inf")
            self._set(self.face.exchange)

    def on_response_complete(self) -> None:
        """The answer is on its way; what is left of it, of the request and of the connection has its seconds too."""
        self._wait_for_a_request()
        super().on_response_complete()

    def cut(self) -> None:
        """End it now, whatever is still to be sent."""
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
    """asyncio's loop, with the two things that uvicorn has no setting for.

    A TLS handshake has other times than 60 s; a fault that comes again and again (too many open files) is told once.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.told = set[str]()
        self.set_exception_handler(lambda _, context: self.tell(context))
        self.times = {"ssl_handshake_timeout": seconds, "ssl_shutdown_timeout": seconds}

    async def create_server(self, *arguments: Any, **options: Any) -> Any:
        """As asyncio's."""
        return await super().create_server(*arguments, **{**options, **self.times})

    def tell(self, context: dict[str, Any]) -> None:
        """Tell of a fault that nobody handles, unless it was told."""
        if (message := str(context.get("message"))) not in self.told:
            self.told.add(message)
            self.default_exception_handler(context)


def serving(face: Face) -> uvicorn.Config:
    """The whole configuration of the server."""
    return uvicorn.Config(
        ProxyApp(face),
        host=face.host,
        port=face.port,
        # Of uvicorn's two parsers the strict one, whose heads are bounded.
        http=type("Connection", (Connection,), {"face": face}),
        h11_max_incomplete_event_size=LONGEST_HEAD,
        ws="none",
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_level="error",  # what strangers send fills no disk
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GOODBYE,
        ssl_context_factory=lambda *_: tls(face),
    )


def tls(face: Face) -> ssl.SSLContext:
    """The server's side of TLS, 1.2 or newer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.load_cert_chain(face.certificate, face.key)
    return context


def main() -> None:
    """Serve until a signal ends this process."""
    face = Face.read(Path(sys.argv[1]))
    # asyncio holds 256 KiB for a connection from its first byte on: open files are bounded, not connections alone.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = 2 * face.connections + SPARE_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (files if most == resource.RLIM_INFINITY else min(files, most), most))
    with asyncio.Runner(loop_factory=partial(_Loop, face.head)) as runner:
        runner.run(uvicorn.Server(serving(face)).serve())


if __name__ == "__main__":
    main()
