"""The proxy of a deployment as a process, before a hub that notes what reaches it."""

import base64
import contextlib
import datetime
import http.client
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from flower_processes import wait_for
from mosaic_fl.deploy.certificates import make_client_keys, make_server_keys
from mosaic_fl.deploy.checks import client_public_keys
from mosaic_fl.deploy.processes import Child, Processes, free_port
from mosaic_fl.deploy.proxy import Face, command, public_pem

CALL = "/v1/fleet/pull-messages"
# What must not pass: Flower's other calls and pages, and other ways to write one that passes.
OTHERS = [
    "/", "/docs", "/openapi.json", "/health", "/mosaic/hello/", "/mosaic/hello?x", "*", "",
    "/v1/control/start-run", "/v1/control/register-node", "/v1/control/list-runs?x=/v1/fleet/pull-messages",
    "/v1/runtime/acquire-task", "/v1/runtime/responses", "/v1/runtime/pull-messages",
    "/v1/fleet/register-node", "/v1/fleet/unregister-node", "/v1/fleet", "/v1/fleet/",
    "/v1/fleet/../control/start-run", "/v1/fleet/%2e%2e/control/start-run", "/v1/fleet/..%2fcontrol%2fstart-run",
    "/v1/fleet/pull-messages/../../control/start-run", "//v1/control/start-run",
    f"{CALL}/", f"{CALL}/x", f"{CALL}?x=1", f"{CALL}#x", f"/{CALL}", f"/.{CALL}", f"{CALL}%00", f"{CALL}%20",
    f"{CALL};x", f"{CALL}.", f"{CALL}\\", "/V1/fleet/pull-messages", "/v1/fleet/Pull-Messages",
    "/v1//fleet/pull-messages", "/v1/fleet%2fpull-messages", "/v1/fleet/pull%2dmessages", "/%76%31/fleet/pull-messages",
    "/v1\\fleet\\pull-messages", f"https://127.0.0.1{CALL}", f"http://127.0.0.1:1{CALL}", "127.0.0.1:1",
]  # fmt: skip


class Hub(BaseHTTPRequestHandler):
    """Answers every request, and notes it."""

    protocol_version = "HTTP/1.1"
    came: list[tuple[str, str, dict[str, str], bytes]]  # method, path, headers, body
    answer = b"hub"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        given = {name.lower(): value for name, value in self.headers.items()}
        self.came.append((self.command, self.path, given, body))
        self.send_response(422)
        for name, value in (("Content-Type", "text/x"), ("flwr-package-name", "hub"), ("X-Secret", "s")):
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(self.answer)))
        self.end_headers()
        self.wfile.write(self.answer)

    do_GET = do_POST  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Nothing."""


@dataclass
class Bench:
    """A proxy that runs and what has come to its hub; `folder` has the keys of a known and an unknown client."""

    folder: Path
    face: Face
    came: list[tuple[str, str, dict[str, str], bytes]]
    proxy: Child

    def tls(self) -> ssl.SSLContext:
        """What a client trusts."""
        return ssl.create_default_context(cafile=str(self.folder / "server" / "ca.crt"))

    def connect(self) -> ssl.SSLSocket:
        """A TLS connection."""
        plain = socket.create_connection(("127.0.0.1", self.face.port), 20)
        return self.tls().wrap_socket(plain, server_hostname="127.0.0.1")

    def says(self, request: bytes) -> int:
        """The status of the answer to these bytes."""
        with self.connect() as connection:
            connection.sendall(request)
            response = http.client.HTTPResponse(connection)
            response.begin()
            return response.status

    def ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, bytes]:
        """(status, body) of the answer to a request as Python writes it."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.face.port, context=self.tls(), timeout=20)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in {"Host": "x", "Content-Length": str(len(body)), **(headers or {})}.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        self.last = dict(response.getheaders())
        return response.status, response.read()

    def head(self, request: str = f"POST {CALL} HTTP/1.1", *lines: str) -> str:
        """The head of a request that a node has signed, without the empty line at its end."""
        signature = [f"{name}: {value}" for name, value in self.signed().items()]
        return "\r\n".join([request, "Host: x", *lines, *signature, ""])

    def signed(self, who: str = "known") -> dict[str, str]:
        """The headers of the client that the proxy knows, or of the "unknown" one."""
        return sign(self.folder / who / "client.key")


def sign(path: Path) -> dict[str, str]:
    """The headers by which a node proves the private key at `path`, as Flower writes them."""
    key = serialization.load_ssh_private_key(path.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    now, form = datetime.datetime.now(datetime.UTC).isoformat(), serialization.PublicFormat.SubjectPublicKeyInfo
    public = key.public_key().public_bytes(serialization.Encoding.PEM, form)
    signature = key.sign(now.encode(), ec.ECDSA(hashes.SHA256()))
    return {
        "flwr-timestamp": now,
        "flwr-public-key": base64.b64encode(public).decode(),
        "flwr-signature": base64.b64encode(signature).decode(),
    }


@contextlib.contextmanager
def proxied(folder: Path) -> Iterator[Bench]:
    """A proxy and its hub, which run as long as the block."""
    for name in ("server", "loopback"):
        make_server_keys(["127.0.0.1", "localhost"], folder / name)
    for name in ("known", "unknown"):
        make_client_keys(folder / name)
    Hub.came = []
    hub = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "loopback" / "server.pem", folder / "loopback" / "server.key")
    hub.socket = context.wrap_socket(hub.socket, server_side=True)
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    face = Face(
        "127.0.0.1", free_port(), str(folder / "server" / "server.pem"), str(folder / "server" / "server.key"),
        hub.server_address[1], str(folder / "loopback" / "ca.crt"),
        {mark: public_pem(path) for mark, path in client_public_keys(folder / "known").items()},
    )  # fmt: skip
    with Processes() as processes:
        yield Bench(folder, face, Hub.came, start_proxy(processes, face, folder))
    hub.shutdown()
    hub.server_close()


def start_proxy(processes: Processes, face: Face, folder: Path) -> Child:
    """Start the proxy with this face; returns when it listens."""
    path = folder / f"proxy-{face.port}.json"
    face.write(path)
    assert Face.read(path) == face
    child = processes.start("proxy", command(path, {}), path.with_suffix(".log"), signal.SIGKILL)
    wait_for(lambda: listens(face.port), 20, f"the proxy listens: {child.output()}")
    return child


def listens(port: int) -> bool:
    """Whether somebody listens on `port` of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
