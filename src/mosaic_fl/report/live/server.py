"""The server of a run's page: on loopback, read-only, with a token in its address. Standard library alone."""

import io
import json
import sys
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, cast

from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.report.live.gate import HOST, new_token, refusal
from mosaic_fl.report.live.head import read_head
from mosaic_fl.report.live.snapshot import read_snapshot
from mosaic_fl.report.live.view import view_of
from mosaic_fl.report.page.template import PLACE, rendered

MOST_AT_ONCE = 32  # connections; further ones are closed
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
FILES = {"style.css": "text/css", "status.css": "text/css", "status.js": "text/javascript"}


class PageServer(ThreadingMixIn, TCPServer):
    """Answers for the run in `folder` on `port` of loopback (0: a free one); a context manager.

    Raises UsageError where the port cannot be opened.
    """

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.folder = folder
        self.token = new_token()
        self._free = threading.BoundedSemaphore(MOST_AT_ONCE)
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or error
            raise UsageError(f"--port {port}: {why}; choose another one, or 0 for any that is free") from error

    @property
    def address(self) -> str:
        """The URL of the page, with its token."""
        return f"http://{HOST}:{self.server_address[1]}/{self.token}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, or close the connection where too many are open."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer one request, in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell a defect in one line. A peer that went away is none."""
        error = sys.exception()
        if not isinstance(error, OSError):
            print(f"mosaic: the page of {self.folder.name}: {type(error).__name__}: {error}", file=sys.stderr)

    def content(self, name: str) -> tuple[str, bytes] | None:
        """(media type, content) of the page's part `name`; None where there is none.

        Raises MosaicError where the run's folder cannot be read.
        """
        if name == "":
            try:
                view = view_of(self.folder, read_snapshot(self.folder), time.time())
            except (TypeError, ValueError, KeyError, AttributeError) as error:
                raise MosaicError(f"{self.folder}: there are figures that no run of this version writes") from error
            return "text/html", rendered("status.html.j2", view=view).encode("utf-8", "replace")
        if name == "status.json":
            text = json.dumps(read_snapshot(self.folder).to_json(), ensure_ascii=False, indent=2) + "\n"
            return "application/json", text.encode("utf-8", "replace")
        return (FILES[name], (PLACE / name).read_bytes()) if name in FILES else None


class _Handler(BaseHTTPRequestHandler):
    """One request and its answer; then the connection is closed."""

    server_version = "mosaic"
    sys_version = ""
    default_request_version = "HTTP/1.0"  # what cannot be read gets an answer with headers, too
    request_version = "HTTP/1.0"
    requestline = ""
    command = ""

    def handle(self) -> None:
        """Read the head within its limits, then answer."""
        try:
            head = read_head(self.connection)
        except ValueError:
            self._answer(431, "text/plain", b"refused: the head of the request is too large\n")
            return
        if head is not None:
            self.rfile = io.BufferedReader(io.BytesIO(head))
            self.handle_one_request()

    def do_GET(self) -> None:
        """Send a part of the page."""
        server = cast("PageServer", self.server)
        if why := refusal(self.path, self.headers.get_all("Host", []), server.token):
            self.send_error(403, why)
            return
        try:
            part = server.content(self.path.removeprefix(f"/{server.token}/"))
        except MosaicError as error:  # the folder is gone, or a file in it is damaged
            self.send_error(503, str(error))
            return
        if part is None:
            self.send_error(404, "there is no such page")
        else:
            self._answer(200, *part)

    def do_HEAD(self) -> None:
        """Send the headers of a part of the page."""
        self.do_GET()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer with one line of plain text. The base class calls it for what it cannot read, too."""
        if code == 501:  # it knows no such method
            self._answer(405, "text/plain", b"refused: this page is only read\n", {"Allow": "GET, HEAD"})
        else:
            line = " ".join((message or "refused").split())
            self._answer(code, "text/plain", f"{line}\n".encode("utf-8", "replace"))

    def _answer(self, code: int, kind: str, content: bytes, more: Mapping[str, str] | None = None) -> None:
        self.send_response(code)
        values = {"Content-Type": f"{kind}; charset=utf-8", "Content-Length": str(len(content)), **HEADERS}
        for name, value in {**values, **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *values: Any) -> None:
        """Say nothing of each request."""
