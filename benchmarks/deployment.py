"""A deployed run beside a local one: wall time, bytes on the wire, memory. Real processes on loopback.

    python benchmarks/deployment.py demo     # 5 clients, the demo: wall time and bytes beside the local engine
    python benchmarks/deployment.py large    # contributions of 250 MB
    python benchmarks/deployment.py many     # 50 clients (--clients), tiny models: 600 MB of memory each

TLS and keys. Nothing else heavy may run beside it.
"""

import argparse
import contextlib
import json
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "faults"))

from deployment import Deployment, command, deployed

DEMO_MODELS = ("cnn:16", "mlp:64", "cnn:32", "mlp:128", "cnn:8")  # what the demo gives to five clients
TINY = [
    word
    for setting in (
        "train.max_steps=20", "train.min_steps=10", "generator.steps=20", "generator.width=4", "meta.steps=20",
        "meta.samples=200", "distill.steps=20", "distill.pool=500",
    )
    for word in ("--set", setting)
]  # fmt: skip


class Memory(threading.Thread):
    """The most memory (resident, in MiB) that the server's app has had; looked at twice a second."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.mark, self.most, self.over = str(folder / "run").encode(), 0.0, False

    def run(self) -> None:
        while not self.over:
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    line = (process / "cmdline").read_bytes()
                    if b"flwr-serverapp" in line or (b"mosaic_fl.deploy.gate" in line and b"server" in line):
                        status = (process / "status").read_text()
                        held = next(row for row in status.splitlines() if row.startswith("VmRSS"))
                        self.most = max(self.most, int(held.split()[1]) / 1024)
                except (OSError, StopIteration):
                    continue
            time.sleep(0.5)


def phases(run: Deployment) -> list[tuple[str, float]]:
    """(stage, seconds) of every stage that asked the clients."""
    started, found = dict[str, float](), []
    for line in (run.folder / "run" / "events.jsonl").read_text().splitlines():
        event = json.loads(line)
        stage = event["facts"].get("stage", "")
        if event["kind"] == "stage_started":
            started[stage] = event["time"]
        elif event["kind"] == "stage_finished" and stage in started:
            found.append((stage, event["time"] - started[stage]))
    return found


def run_deployed(run: Deployment) -> tuple[float, float]:
    """(seconds from the run's start to its end, MiB of the server's app)."""
    memory = Memory(run.folder)
    memory.start()
    run.start_clients()  # they wait for the server, as they would
    run.start_server()
    code, said = run.finish(1800)
    memory.over = True
    if code:
        sys.exit(said)
    events = [json.loads(line) for line in (run.folder / "run" / "events.jsonl").read_text().splitlines()]
    return events[-1]["time"] - events[0]["time"], memory.most


class Wire:
    """Counts what passes between the clients and the server, on a port of its own."""

    def __init__(self) -> None:
        self.up = self.down = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])

    def open(self, port: int) -> None:
        """Pass on to `port`."""
        threading.Thread(target=self._accept, args=(port,), daemon=True).start()

    def _accept(self, port: int) -> None:
        while True:
            client, _ = self.listener.accept()
            try:
                server = socket.create_connection(("127.0.0.1", port))
            except OSError:  # it is not there yet
                client.close()
                continue
            for source, target, way in ((client, server, "up"), (server, client, "down")):
                threading.Thread(target=self._pass, args=(source, target, way), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, way: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(2**16):
                setattr(self, way, getattr(self, way) + len(data))
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def demo(folder: Path, _: int) -> None:
    """The demo on both engines."""
    wire = Wire()
    with deployed(folder, 5, models=DEMO_MODELS, via=wire.port) as run:
        wire.open(run.port)
        start = time.perf_counter()
        command("run", "--clients", "5", "--out", folder / "local", cwd=folder)
        local = time.perf_counter() - start
        wall, memory = run_deployed(run)
        asked, result = phases(run), run.result()
        theirs = json.loads((folder / "local" / "result.json").read_text())
    sent = sum(result["bytes_up"])
    print(f"local {local:.1f} s, deployed {wall:.1f} s: {', '.join(f'{n} {s:.1f} s' for n, s in asked)}")
    print(f"target 1.5 × local + 15 s a phase = {1.5 * local + 15 * len(asked):.1f} s; server's app {memory:.0f} MiB")
    print(f"accuracy {result['accuracy']:.4f} and {theirs['accuracy']:.4f}")
    print(f"contributions {sent:,} bytes; up {wire.up:,} ({wire.up / sent:.2f} ×), down {wire.down:,}")


def large(folder: Path, _: int) -> None:
    """Two clients whose classifier alone has 62 million weights."""
    words = (*TINY, "--set", "generator.family=none", "--set", "distill.prior=procedural", "--student", "mlp:16")
    wire = Wire()
    iid = ("--split", "iid")
    with deployed(folder, 2, models=("mlp:7800:2",), data=iid, settings=words, via=wire.port) as run:
        wire.open(run.port)
        wall, memory = run_deployed(run)
        sent = run.result()["bytes_up"]
        print(f"contributions {[f'{b / 2**20:.0f} MiB' for b in sent]}, {wall:.0f} s, server's app {memory:.0f} MiB")
        print(f"up {wire.up:,} bytes ({wire.up / sum(sent):.3f} ×), down {wire.down:,}")
        print(", ".join(f"{n} {s:.1f} s" for n, s in phases(run)))


def many(folder: Path, clients: int) -> None:
    """Many clients with a tiny model each."""
    extra = ("--limit", "join=1200", "--limit", "contribute=1800", "--limit", "evaluate=1200")
    with deployed(folder, clients, models=("mlp:4",), data=("--split", "iid"), settings=TINY, extra=extra) as run:
        wall, memory = run_deployed(run)
        result = run.result()
        total = sum(result["bytes_up"]) / 2**20
        print(f"{len(result['bytes_up'])} clients, {wall:.0f} s, contributions {total:.1f} MiB, app {memory:.0f} MiB")
        print(f"left out: {result['left_out']}; {', '.join(f'{n} {s:.1f} s' for n, s in phases(run))}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("demo", "large", "many"))
    parser.add_argument("--clients", type=int, default=50, help="of many")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        globals()[options.what](Path(place), options.clients)
