"""Flower's commands as this package runs them: they install and report nothing, and each has its own home folder."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from mosaic_fl.deploy.processes import Command, as_words
from mosaic_fl.engines.flower.extra import QUIET
from mosaic_fl.errors import UsageError
from mosaic_fl.extras import remedy

CONNECTION = "mosaic"  # the name of the server's connection in Flower's own configuration
POLL = "0.25"  # seconds between requests for work within one machine; Flower's default is 1
LOOPBACK = "127.0.0.1,localhost,::1"
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


def program(name: str) -> str:
    """The path of one of Flower's commands beside this Python; raises UsageError if it is not installed."""
    path = Path(sys.executable).parent / name
    location = str(path) if path.exists() else shutil.which(name)
    if not location:
        raise UsageError(f"{name} is not installed: {remedy('flwr')}")
    return location


def environment(home: Path, gate: Path | None = None, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment variables of Flower's processes, beside the user's own; `home` is their home folder.

    With `gate`, PATH has that folder and the system's folders only: so the shell takes a command of Flower from the
    gate or not at all.
    """
    settings = {
        **QUIET,
        "FLWR_HOME": str(home),
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": POLL,
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
    }
    # Python prefers the spelling in small letters. The exceptions of both spellings apply here.
    exceptions = ",".join(filter(None, [os.environ.get("no_proxy"), os.environ.get("NO_PROXY"), LOOPBACK]))
    direct = {"no_proxy": exceptions, "NO_PROXY": exceptions}
    path = {"PATH": f"{gate}:{SYSTEM_PATH}"} if gate else {}
    return {**settings, **direct, **path, **(more or {})}


def superlink(
    host: str, port: int, database: Path, tls: tuple[Path, Path, Path] | None, env: Mapping[str, str]
) -> Command:
    """The server's hub; `tls` is its certificate, key and CA. Without TLS it does not check nodes' keys either."""
    safety: list[str | Path] = ["--insecure"]
    if tls:
        certificate, key, ca = tls
        safety = ["--ssl-certfile", certificate, "--ssl-keyfile", key, "--ssl-ca-certfile", ca]
        safety += ["--enable-supernode-auth"]
    words = [*_program_words("flower-superlink"), "--host", host, "--port", port, "--database", database, *safety]
    return Command(as_words([*words, "--disable-runtime-dependency-installation"]), env)


def supernode(server: str, port: int, site: Path, safety: tuple[Path, Path] | None, env: Mapping[str, str]) -> Command:
    """A client's node for the hub at `server`; `safety` is the CA's certificate and this client's private key."""
    trust: list[str | Path] = ["--insecure"]
    if safety:
        trust = ["--root-certificates", safety[0], "--auth-supernode-private-key", safety[1]]
    words = ["--superlink", server, *trust, "--host", "127.0.0.1", "--port", port, "--node-config", f'site="{site}"']
    return Command(as_words([*_program_words("flower-supernode"), *words]), env)


def _program_words(name: str) -> list[str]:
    """The words that run a program of Flower with the changes of `program`."""
    return [sys.executable, "-P", "-m", "mosaic_fl.deploy.program", program(name)]


def flwr(*words: str | Path, env: Mapping[str, str]) -> Command:
    """A `flwr` command for the hub, over the connection of `write_connection`."""
    return Command(as_words([program("flwr"), *words]), env)


def write_connection(home: Path, address: str, ca: Path | None) -> None:
    """Write the hub's address into `home`, the home folder of the `flwr` command."""
    trust = f'root-certificates = "{ca}"' if ca else "insecure = true"
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    text = f'[superlink]\ndefault = "{CONNECTION}"\n\n[superlink.{CONNECTION}]\naddress = "{address}"\n{trust}\n'
    (home / "config.toml").write_text(text, "utf-8")
