"""A deployed federation on 127.0.0.1: the real commands, TLS, keys, and processes that are all gone in the end."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SABOTAGE = Path(__file__).parent / "sabotage"
MOSAIC = (sys.executable, "-c", "from mosaic_fl.cli.main import main; main()")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(**more: str) -> dict[str, str]:
    """The environment of every process here."""
    return {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "COLUMNS": "120", **more}


def command(*words: str | Path, cwd: Path) -> str:
    """Run `mosaic` to its end; returns its stdout."""
    done = subprocess.run([*MOSAIC, *map(str, words)], cwd=cwd, env=environment(), text=True, capture_output=True)
    assert done.returncode == 0, f"{words}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass
class Deployment:
    """Clients 0 to `clients` − 1 with digits of `alpha`, their files and keys under `folder`, and a server.

    `models` are given in turn. `extra` are more words for the server; `settings` those of the run.
    """

    folder: Path
    clients: int
    settings: Sequence[str] = ()
    extra: Sequence[str] = ()
    models: Sequence[str] = ("mlp:16",)
    data: Sequence[str] = ()
    port: int = field(default_factory=free_port)
    via: int = 0  # the port that clients are told, where it is not the server's
    processes: dict[str, "subprocess.Popen[str]"] = field(default_factory=dict)

    def prepare(self) -> None:
        """Data, keys and site files: what every operator does once."""
        folder = self.folder
        split = ("--clients", str(self.clients), *self.data)
        command("data", "--data", "digits", *split, "--export", folder / "data", "--out", folder / "s.png", cwd=folder)
        command("deploy", "keys", "server", "--host", "127.0.0.1", "--out", folder / "keys", cwd=folder)
        for client in range(self.clients):
            self.site(client)

    def site(self, client: int, number: int | None = None, name: str = "") -> Path:
        """The site file of a client, whose key is made; `number` is what it calls itself."""
        home = self.folder / (name or f"site-{client}")
        command("deploy", "keys", "client", "--out", home, cwd=self.folder)
        public = next(home.glob("*.pub"))
        (self.folder / "clients").mkdir(exist_ok=True)
        shutil.copy(public, self.folder / "clients" / f"{home.name}.pub")
        site = home / "site.toml"
        site.write_text(
            f"client = {client if number is None else number}\n"
            f'data = "{self.folder}/data/client-{client:03d}.parquet"\n'
            f'model = "{self.models[client % len(self.models)]}"\nclasses = 10\nfolder = "work"\n\n'
            f"[limits]\nfigures = true\n\n"
            f'[server]\naddress = "127.0.0.1:{self.via or self.port}"\ncertificate = "{self.folder}/keys/ca.crt"\n'
            f'key = "{public.with_suffix("")}"\n'
        )
        return site

    def start_client(self, name: str, **more: str) -> None:
        """Start the client of `folder`/`name`; `more` is its environment."""
        self._start(name, ("deploy", "client", self.folder / name / "site.toml"), environment(**more))

    def start_clients(self, sabotage: dict[int, str] | None = None, late: float = 60.0) -> None:
        """Start all clients; `sabotage` says what some of them do: see `sabotage/sitecustomize.py`."""
        for client in range(self.clients):
            fault = (sabotage or {}).get(client)
            more = {"MOSAIC_SABOTAGE": fault, "PYTHONPATH": _path(SABOTAGE)} if fault else {}
            self.start_client(f"site-{client}", **more, MOSAIC_SABOTAGE_LATE=str(late))

    def start_server(self, *words: str) -> None:
        """Start the server, with `words` such as --resume."""
        keys = ("--keys", self.folder / "keys", "--clients-keys", self.folder / "clients")
        where = ("--host", "127.0.0.1", "--port", str(self.port), "--out", self.folder / "run")
        given = ("--clients", str(self.clients), "--test", self.folder / "data" / "test.parquet")
        line = ("deploy", "server", *given, *keys, *where, *self.settings, *self.extra, *words)
        self._start("server", line, environment())

    def finish(self, timeout: float = 300.0) -> tuple[int, str]:
        """(exit code, all output) of the server, waited for."""
        process = self.processes["server"]
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the server did not end within {timeout} s\n{self.log('server')}") from None
        return code, self.log("server")

    def log(self, name: str) -> str:
        """What a process has said so far."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def result(self) -> dict[str, Any]:
        """The run's result.json."""
        loaded: dict[str, Any] = json.loads((self.folder / "run" / "result.json").read_text())
        return loaded

    def kill(self, name: str, how: int = signal.SIGKILL) -> None:
        """Kill the process `name`: what it started has to end by itself."""
        self.processes[name].send_signal(how)
        self.processes[name].wait(30)

    def template(self, name: str) -> int:
        """The process from which the messages' processes of client `name` are forked."""
        home, warm = os.fsencode(self.folder / name), dict[int, int]()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words, around = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
                if b"mosaic_fl.deploy.warm" in words and home in around:
                    warm[int(process.name)] = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        return next(pid for pid, parent in sorted(warm.items()) if parent in warm)

    def wait_for(self, seen: Any, timeout: float = 120.0) -> None:
        """Wait until `seen()` is true, looking ten times a second."""
        end = time.monotonic() + timeout
        while not seen():
            if time.monotonic() > end or self.processes["server"].poll() is not None:
                raise AssertionError(f"it did not come to that\n{self.log('server')}")
            time.sleep(0.1)

    def events(self, kind: str, **facts: Any) -> list[dict[str, Any]]:
        """The run's events of this kind with these facts."""
        path = self.folder / "run" / "events.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        found = [json.loads(line) for line in lines if line.endswith("}")]
        return [
            e for e in found if e["kind"] == kind and facts.items() <= {**e["facts"], "client": e["client"]}.items()
        ]

    def close(self) -> None:
        """End all processes that were started here."""
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            if process.poll() is None:
                process.kill()
                process.wait(10)

    def _start(self, name: str, words: Sequence[str | Path], env: dict[str, str]) -> None:
        with (self.folder / f"{name}.log").open("a") as log:
            self.processes[name] = subprocess.Popen(
                [*MOSAIC, *map(str, words)], cwd=self.folder, env=env, stdout=log, stderr=log, text=True
            )


@contextlib.contextmanager
def deployed(folder: Path, clients: int, **more: Any) -> Iterator[Deployment]:
    """A prepared deployment; in the end nothing of it runs, which is asserted."""
    deployment = Deployment(folder, clients, **more)
    deployment.prepare()
    try:
        yield deployment
    finally:
        deployment.close()
        left = left_running(folder)
        assert not left, f"still running: {left}"


def left_running(folder: Path, patience: float = 15.0) -> list[str]:
    """The command lines of processes that name `folder` and are still there after a while."""
    end = time.monotonic() + patience
    while True:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if str(folder) in line and int(process.name) != os.getpid():
                    found.append(line)
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.2)


def _path(folder: Path) -> str:
    return os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH", ""))))
