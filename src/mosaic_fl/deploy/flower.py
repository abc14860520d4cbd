"""Flower's commands as this package runs them: nothing installed, reported or looked up, every home its own."""

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
POLL = "0.25"  # seconds between looks for work inside one machine; Flower's default is 1
LOOPBACK = "127.0.0.1,localhost,::1"
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


def program(name: str) -> str:
    """The path of one of Flower's commands beside this Python; raises UsageError where it is not installed."""
    path = Path(sys.executable).parent / name
    found = str(path) if path.exists() else shutil.which(name)
    if not found:
        raise UsageError(f"{name} is not installed: {remedy('flwr')}")
    return found


def environment(home: Path, gate: Path | None = None, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """What Flower's processes are given beside the user's own environment: `home` is theirs alone.

    With `gate`, PATH is that folder and the system's: a command of Flower's is found in the gate or nowhere.
    """
    own = {
        **QUIET,
        "FLWR_HOME": str(home),
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": POLL,
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
    }
    # Of the two spellings Python prefers the small one. Where they differ, what either excepts is excepted.
    excepted = ",".join(filter(None, [os.environ.get("no_proxy"), os.environ.get("NO_PROXY"), LOOPBACK]))
    direct = {"no_proxy": excepted, "NO_PROXY": excepted}
    path = {"PATH": f"{gate}:{SYSTEM_PATH}"} if gate else {}
    return {**own, **direct, **path, **(more or {})}


def superlink(
    host: str, port: int, database: Path, tls: tuple[Path, Path, Path] | None, env: Mapping[str, str]
) -> Command:
    """The server's hub; `tls` is its certificate, key and CA, without which nodes cannot be told apart either."""
    safety: list[str | Path] = ["--insecure"]
    if tls:
        certificate, key, ca = tls
        safety = ["--ssl-certfile", certificate, "--ssl-keyfile", key, "--ssl-ca-certfile", ca]
        safety += ["--enable-supernode-auth"]
    words = [*_changed("flower-superlink"), "--host", host, "--port", port, "--database", database, *safety]
    return Command(as_words([*words, "--disable-runtime-dependency-installation"]), env)


def supernode(server: str, port: int, site: Path, safety: tuple[Path, Path] | None, env: Mapping[str, str]) -> Command:
    """A client's node towards `server`; `safety` is the CA's certificate and this client's private key."""
    trust: list[str | Path] = ["--insecure"]
    if safety:
        trust = ["--root-certificates", safety[0], "--auth-supernode-private-key", safety[1]]
    words = ["--superlink", server, *trust, "--host", "127.0.0.1", "--port", port, "--node-config", f'site="{site}"']
    return Command(as_words([*_changed("flower-supernode"), *words]), env)


def _changed(name: str) -> list[str]:
    return [sys.executable, "-P", "-m", "mosaic_fl.deploy.program", program(name)]


def flwr(*words: str | Path, env: Mapping[str, str]) -> Command:
    """A command to the hub, over the connection that `write_connection` describes."""
    return Command(as_words([program("flwr"), *words]), env)


def write_connection(home: Path, address: str, ca: Path | None) -> None:
    """Describe the hub to the `flwr` command whose home is `home`."""
    trust = f'root-certificates = "{ca}"' if ca else "insecure = true"
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    text = f'[superlink]\ndefault = "{CONNECTION}"\n\n[superlink.{CONNECTION}]\naddress = "{address}"\n{trust}\n'
    (home / "config.toml").write_text(text, "utf-8")
