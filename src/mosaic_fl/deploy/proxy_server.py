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
from mosaic_fl.deploy.proxy_app import ProxyApp

KEEP_ALIVE = 15  # seconds that an idle connection stays, less than a request's head may take
GOODBYE = 1  # seconds for exchanges under way when this process is ended
SPARE_FILES = 256  # of the connections to the hub, and of Python


class Connection(H11Protocol):
    """uvicorn's HTTP connection with a clock: who does nothing useful in time is cut off, whatever trickles in."""

    face: Face  # of the whole process: `serving` makes a class that has it
    begin = 0.0  # when it last had no request under way, by the loop's clock; infinite while it has one
    _clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Its TLS handshake is done. Where there are too many, the one that has been idle for longest goes."""
        super().connection_made(transport)
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
    """asyncio's loop, whose TLS handshakes have other times than 60 s, which uvicorn has no setting for."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.times = {"ssl_handshake_timeout": seconds, "ssl_shutdown_timeout": seconds}

    async def create_server(self, *arguments: Any, **options: Any) -> Any:
        """As asyncio's."""
        return await super().create_server(*arguments, **{**options, **self.times})


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
