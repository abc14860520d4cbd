"""The public face of the server: nginx, which lets through what a node needs and nothing else."""

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from mosaic_fl.deploy.certificates import CERTIFICATE, KEY
from mosaic_fl.deploy.processes import Command, as_words
from mosaic_fl.deploy.reach import HELLO
from mosaic_fl.errors import UsageError

# The calls of a node whose key is registered. `register-node` and `unregister-node` are not among them: nodes are
# registered on the server's machine. /v1/control starts runs and registers keys, /v1/runtime serves running apps.
FLEET = (
    "activate-node", "deactivate-node", "send-node-heartbeat", "pull-messages", "push-messages", "get-run", "get-fab",
    "push-object", "pull-object", "confirm-message-received",
)  # fmt: skip
LARGEST = "16m"  # a request: Flower cuts what it sends into pieces of 5 MiB


@dataclass(frozen=True)
class Face:
    """Where nginx listens, with which keys, and what stands behind it."""

    host: str
    port: int
    keys: Path  # server.pem and server.key
    hub: int  # the superlink's port on 127.0.0.1
    hub_ca: Path
    known: tuple[str, ...] | None = None  # fingerprints of the clients' keys, which anyone may ask for


def nginx() -> str:
    """The path of nginx; raises UsageError where it is not installed."""
    found = shutil.which("nginx", path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/homebrew/bin")
    if not found:
        raise UsageError(
            "nginx is not installed: apt-get install nginx-light (or your system's package), or say --no-proxy with "
            "--host 127.0.0.1"
        )
    return found


def hello(known: Iterable[str]) -> str:
    """What the server tells anyone who asks: its version, and the fingerprints of the keys that it knows."""
    return json.dumps({"mosaic_fl": version("mosaic-fl"), "keys": sorted(known)})


def configuration(face: Face, folder: Path) -> str:
    """The whole nginx.conf, whose files live in `folder`."""
    address = f"[{face.host}]:{face.port}" if ":" in face.host else f"{face.host}:{face.port}"
    greeting = ""
    if face.known is not None:
        said = f"default_type application/json; return 200 '{hello(face.known)}';"
        greeting = f"\n        location = {HELLO} {{ {said} }}"
    return f"""# Made by `mosaic deploy server`: only what a registered node needs gets through.
daemon off;
pid {_quoted(folder / "nginx.pid")};
error_log stderr warn;
events {{ worker_connections 1024; }}

http {{
    access_log off;
    server_tokens off;
    client_max_body_size {LARGEST};
    client_body_buffer_size {LARGEST};  # a piece stays in memory: no update is written to disk here
    client_body_temp_path {_quoted(folder / "body")};
    proxy_temp_path {_quoted(folder / "proxy")};
    fastcgi_temp_path {_quoted(folder / "fastcgi")};
    uwsgi_temp_path {_quoted(folder / "uwsgi")};
    scgi_temp_path {_quoted(folder / "scgi")};
    upstream hub {{ server 127.0.0.1:{face.hub}; keepalive 16; }}

    server {{
        listen {address} ssl;
        ssl_certificate {_quoted(face.keys / CERTIFICATE)};
        ssl_certificate_key {_quoted(face.keys / KEY)};
        ssl_protocols TLSv1.2 TLSv1.3;

        location / {{ return 403; }}{greeting}
        location = /health {{ proxy_pass https://hub/health; }}
        # The address is built here, not passed on: there is no other way to write a call that is not meant.
        location ~ ^/v1/fleet/({"|".join(FLEET)})$ {{ proxy_pass https://hub/v1/fleet/$1; }}

        proxy_ssl_verify on;
        proxy_ssl_trusted_certificate {_quoted(face.hub_ca)};
        proxy_ssl_name localhost;  # nginx compares names, not addresses
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_buffering off;
        proxy_request_buffering off;
        proxy_connect_timeout 10s;
        proxy_read_timeout 300s;
        proxy_send_timeout 300s;
    }}
}}
"""


def command(folder: Path, env: Mapping[str, str]) -> Command:
    """nginx in the foreground with the configuration in `folder`."""
    words: list[str | Path | int] = [nginx(), "-p", folder, "-e", "stderr", "-c", folder / "nginx.conf"]
    return Command(as_words(words), env)


def _quoted(path: Path) -> str:
    """A path as a word of nginx's language; raises UsageError for what it cannot say."""
    text = str(path)
    if any(c in text for c in '"\\$\n'):
        raise UsageError(f"{text}: nginx cannot be given a path with a quote, a backslash or a dollar sign")
    return f'"{text}"'
