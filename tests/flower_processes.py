"""A deployment's real processes on loopback, with TLS and keys: started for a test, and gone after it."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mosaic_fl.config import Config
from mosaic_fl.data.export import save_parquet
from mosaic_fl.data.sources import load
from mosaic_fl.deploy.certificates import make_client_keys, make_server_keys
from mosaic_fl.deploy.processes import free_port
from mosaic_fl.engines.sites import spread

# A one-shot run of seconds, of clients with equal shares of the digits and one small model.
TINY = [
    word
    for setting in (
        "train.max_steps=30", "train.min_steps=20", "generator.steps=40", "generator.width=8", "meta.steps=20",
        "meta.samples=200", "distill.steps=40", "distill.pool=400",
    )
    for word in ("--set", setting)
]  # fmt: skip
MODEL = "cnn:8"


@dataclass
class Place:
    """A folder with keys for a server and its clients, and the processes started in it."""

    folder: Path
    port: int = field(default_factory=free_port)
    started: "list[subprocess.Popen[str]]" = field(default_factory=list)

    def make_keys(self, clients: int) -> None:
        """server/, clients/*.pub, and site-K/ with a site file each; one more key that the server does not know."""
        make_server_keys(["127.0.0.1", "localhost"], self.folder / "server")
        (self.folder / "clients").mkdir()
        config = Config().with_values({"partition.clients": clients, "partition.split": "iid"})
        splits = load(config.data, config.run.seed)
        for site in spread(config, splits, [MODEL]):
            save_parquet(site.data, self.folder / f"site-{site.client}" / "data.parquet")
        save_parquet(splits.test, self.folder / "test.parquet")
        for k in range(clients + 1):
            public = make_client_keys(self.folder / f"site-{k}")
            if k < clients:
                shutil.copy(public, self.folder / "clients" / f"client-{k}.pub")
            self.write_site(k)

    def write_site(self, k: int, **changes: str) -> Path:
        """The site file of client `k`, some of its values changed; returns its path."""
        folder = self.folder / f"site-{k}"
        folder.mkdir(exist_ok=True)
        if not (folder / "data.parquet").exists():  # a site that the server does not know
            shutil.copy(self.folder / "site-0" / "data.parquet", folder)
        values = {
            "address": f"127.0.0.1:{self.port}",
            "certificate": "../server/ca.crt",
            "key": "client.key",
            "model": MODEL,
        } | changes
        server = "".join(f'{key} = "{values[key]}"\n' for key in ("address", "certificate", "key"))
        path = folder / "site.toml"
        signs = f'sign = "{values["sign"]}"\n' if "sign" in values else ""
        own = f'data = "data.parquet"\nmodel = "{values["model"]}"\nclasses = 10\n'
        path.write_text(f"client = {k}\n{signs}{own}\n[limits]\nfigures = true\n\n[server]\n{server}")
        return path

    def server(self, *words: str, clients: int = 2, out: str = "run") -> "subprocess.Popen[str]":
        """Start `mosaic deploy server`."""
        keys = ["--keys", "server", "--clients-keys", "clients"]
        place = ["--host", "127.0.0.1", "--port", str(self.port), "--out", out]
        return self.mosaic("deploy", "server", "--clients", str(clients), *keys, *place, *words)

    def client(self, k: int, *words: str) -> "subprocess.Popen[str]":
        """Start `mosaic deploy client` with the site file of client `k`."""
        return self.mosaic("deploy", "client", f"site-{k}/site.toml", *words)

    def mosaic(self, *words: str) -> "subprocess.Popen[str]":
        """Start `mosaic` with these words in the folder."""
        command = [sys.executable, "-c", "from mosaic_fl.cli.main import main; main()", *words]
        out = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        process = subprocess.Popen(command, cwd=self.folder, env=self.environment(), text=True, **out)
        self.started.append(process)
        return process

    def environment(self) -> dict[str, str]:
        """What every process gets: few threads, and the folder's modules."""
        path = os.pathsep.join(filter(None, [str(self.folder), os.environ.get("PYTHONPATH")]))
        return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80", "PYTHONPATH": path}

    def left(self) -> list[str]:
        """The commands that run and have this folder in their words or environment."""
        return [command for command, _ in self._running()]

    def _running(self) -> Iterator[tuple[str, int]]:
        mark = os.fsencode(self.folder)
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (path / "cmdline").read_bytes()
                if words and int(path.name) != os.getpid() and mark in words + (path / "environ").read_bytes():
                    yield words.replace(b"\0", b" ").decode(errors="replace"), int(path.name)

    @contextlib.contextmanager
    def guests(self) -> Iterator[None]:
        """What is started in the block ends with it, however that ends: it is nothing that another test meets."""
        before = len(self.started)
        try:
            yield
        finally:
            _end(self.started[before:])
            del self.started[before:]

    def end(self) -> None:
        """End every process of this folder."""
        _end(self.started)
        for _, pid in self._running():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)


def _end(processes: "list[subprocess.Popen[str]]") -> None:
    """End them, and with them what they started."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    for process in processes:
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


@contextlib.contextmanager
def place(folder: Path, clients: int = 2) -> Iterator[Place]:
    """A deployment's folder with keys for `clients` clients; every process started in it ends with the block."""
    made = Place(folder)
    made.make_keys(clients)
    try:
        yield made
    finally:
        made.end()


def wait_for(true: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until `true()`; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)


def ended(process: "subprocess.Popen[str]", seconds: float = 60) -> tuple[int, str]:
    """The exit code and all output of a process that is to end within `seconds`."""
    output, _ = process.communicate(timeout=seconds)
    return process.returncode, output
