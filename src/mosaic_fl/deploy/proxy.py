"""The public face of the server: a process of its own that lets through what a node needs and nothing else.

The hub (Flower's superlink) listens on 127.0.0.1 alone. Before it stands this reverse proxy: `proxy_app` says what may
pass, `proxy_server` listens. Here is what the server's command knows of it, without importing either.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from mosaic_fl.deploy.processes import Command, as_words
from mosaic_fl.storage.files import write_atomic

# The calls of a node whose key is registered. `register-node` and `unregister-node` are not among them: nodes are
# registered on the server's machine. /v1/control starts runs and registers keys, /v1/runtime serves running apps.
FLEET = (
    "activate-node", "deactivate-node", "send-node-heartbeat", "pull-messages", "push-messages", "get-run", "get-fab",
    "push-object", "pull-object", "confirm-message-received",
)  # fmt: skip
LONGEST_HEAD = 16 << 10  # bytes of a request's first line and headers: a node's have less than 1 KiB
LARGEST = 16 << 20  # bytes of a request's body: Flower cuts what it sends into pieces of 5 MiB


@dataclass(frozen=True)
class Face:
    """Where the proxy listens, with which keys, what stands behind it, and how long and how much it bears."""

    host: str
    port: int
    certificate: str  # paths
    key: str
    hub: int  # the superlink's port on 127.0.0.1
    hub_ca: str
    clients: Mapping[str, str]  # public keys (PEM) by fingerprint, the clients' that the hub knows
    head: float = 10.0  # seconds for a TLS handshake, and again for the head of a request
    exchange: float = 600.0  # seconds for a request and its answer: 16 MiB at 28 kB a second
    connections: int = 256  # of which each takes up to 0.4 MB

    @classmethod
    def read(cls, path: Path) -> "Face":
        """The face that `write` wrote."""
        return cls(**json.loads(path.read_text("utf-8")))

    def write(self, path: Path) -> None:
        """Write it as JSON; no secret is in it."""
        write_atomic(path, json.dumps(asdict(self), indent=1))


def hello(fingerprints: Iterable[str]) -> str:
    """What the server tells anyone who asks: its version, and the fingerprints of the keys that it has registered."""
    return json.dumps({"mosaic_fl": version("mosaic-fl"), "keys": sorted(fingerprints)})


def public_pem(path: Path) -> str:
    """The public OpenSSH key at `path` in the form in which Flower's nodes send theirs."""
    key = serialization.load_ssh_public_key(path.read_bytes())
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form).decode("ascii")


def command(face: Path, env: Mapping[str, str]) -> Command:
    """The proxy with the face in the file `face`."""
    return Command(as_words([sys.executable, "-P", "-m", "mosaic_fl.deploy.proxy_server", face]), env)
