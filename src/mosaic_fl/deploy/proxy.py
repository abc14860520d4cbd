"""The settings and the command of the proxy: the process of the server that the network can reach.

The hub (Flower's superlink) listens on 127.0.0.1 only. In front of it runs this reverse proxy, which forwards the
requests of nodes and refuses all others: `proxy_app` decides which requests pass, `proxy_server` listens. This file
is for the server's command, which imports neither.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from mosaic_fl.deploy.processes import Command, as_words
from mosaic_fl.release import release
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
    """The settings of the proxy: its address and keys, the hub behind it, and its limits of time and number."""

    host: str
    port: int
    certificate: str  # paths
    key: str
    hub: int  # the superlink's port on 127.0.0.1
    hub_ca: str
    clients: Mapping[str, str]  # public keys (PEM) of the registered clients, by fingerprint
    head: float = 10.0  # seconds for a TLS handshake, and again for the head of a request
    exchange: float = 600.0  # seconds for a request and its answer: 16 MiB at 28 kB a second
    connections: int = 256  # at once; each takes up to 0.4 MB

    @classmethod
    def read(cls, path: Path) -> "Face":
        """Read the file of `write`."""
        return cls(**json.loads(path.read_text("utf-8")))

    def write(self, path: Path) -> None:
        """Write the settings as JSON; they contain no secret."""
        write_atomic(path, json.dumps(asdict(self), indent=1))


def hello(fingerprints: Iterable[str]) -> str:
    """The public answer to `HELLO`, as JSON: the server's version and the fingerprints of the registered keys."""
    return json.dumps({"mosaic_fl": release(), "keys": sorted(fingerprints)})


def public_pem(path: Path) -> str:
    """The public OpenSSH key at `path` as PEM, the form in which Flower's nodes send their keys."""
    key = serialization.load_ssh_public_key(path.read_bytes())
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form).decode("ascii")


def command(face: Path, env: Mapping[str, str]) -> Command:
    """The command of the proxy, with the settings in the file `face`."""
    return Command(as_words([sys.executable, "-P", "-m", "mosaic_fl.deploy.proxy_server", face]), env)
