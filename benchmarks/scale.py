"""How the server's time and memory, and a client's bytes, grow with clients and classes: with the same samples in all.

    python benchmarks/scale.py                                  # this tree
    python benchmarks/scale.py --tree OTHER_TREE --clients 5 20 --classes 10 43

Grey images of 8×8 that are noise, so nothing is learned: it is time and memory that count. Each client holds a fifth of
the classes, 4 at least, and trains one step each (`mlp:32`, `cvae` of the usual size). The server works with its usual
pools, and with a share of its usual steps. Clients and server of a cell are processes of their own. Seconds are the
processor's, on one thread.
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

SAMPLES = 20_000  # of all clients together
SIDE = 8
HELD = 5  # a client holds one in so many classes
LEAST_HELD = 4
STAGES = ("read", "meta", "pool", "student", "rest")
MEBI = 2**20
HERE = Path(__file__).resolve()


def train_clients(folder: Path, clients: int, classes: int) -> None:
    """Write each client's contribution into the folder."""
    from mosaic_fl.client.contribute import Site, contribute
    from mosaic_fl.config import Config
    from mosaic_fl.domains.dataset import image_dataset
    from mosaic_fl.domains.image.schema import image_schema
    from mosaic_fl.training.monitor import Recorder

    schema = image_schema((1, SIDE, SIDE), tuple(f"class {c}" for c in range(classes)))
    short = {"train.min_steps": 1, "train.max_steps": 1, "generator.steps": 1, "generator.family": "cvae"}
    config = Config().with_values(short)
    held = max(LEAST_HELD, math.ceil(classes / HELD))
    rng = torch.Generator().manual_seed(0)
    for client in range(clients):
        labels = (torch.arange(SAMPLES // clients) % held + client * held) % classes
        images = torch.randint(256, (len(labels), 1, SIDE, SIDE), generator=rng, dtype=torch.uint8)
        site = Site(client, image_dataset(images, labels, schema), "mlp:32")
        made = contribute(site, config, torch.device("cpu"), lambda _: Recorder())
        (folder / f"{client:03d}").write_bytes(made.to_bytes())


def serve(folder: Path, steps: float) -> None:
    """Print the seconds of each stage, the bytes of a contribution and the peak of memory, as JSON."""
    from mosaic_fl.config import Config
    from mosaic_fl.exchange.contribution import Contribution
    from mosaic_fl.server.distill import distill
    from mosaic_fl.storage.journal import Advance, Journal, Stage

    seconds = dict[str, float]()

    class Clock(Journal):
        def parts(self, name: str, count: int, compute: Advance) -> Stage:
            return timed(name, lambda: super(Clock, self).parts(name, count, compute))

    def timed(name: str, work: Callable[[], Any]) -> Any:
        start = time.process_time()
        result = work()
        seconds[name] = time.process_time() - start
        return result

    paths = sorted(folder.iterdir())
    contributions = timed("read", lambda: [Contribution.load(path) for path in paths])
    usual = Config()
    config = usual.with_values(
        {
            "distill.prior": "none",
            "distill.teacher": "meta",  # what `auto` means for good generators, and the most work
            **({"distill.terms": 1} if hasattr(usual.distill, "terms") else {}),  # earlier trees have one anyway
            "meta.steps": max(1, round(steps * usual.meta.steps)),
            "distill.steps": max(1, round(steps * usual.distill.steps)),
        }
    )
    with tempfile.TemporaryDirectory() as run:
        timed("all", lambda: distill(contributions, config, torch.device("cpu"), Clock(Path(run))))
    seconds["rest"] = seconds.pop("all") - sum(seconds[name] for name in ("meta", "pool", "student"))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = sum(path.stat().st_size for path in paths) / len(paths)
    print(json.dumps({"seconds": seconds, "memory": memory, "bytes": size}))


def cell(tree: Path, clients: int, classes: int, steps: float) -> dict[str, Any]:
    """What `serve` prints, of contributions by the same tree."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tree / "src")}
    with tempfile.TemporaryDirectory() as folder:
        for part in (["--train", folder], ["--serve", folder]):
            words = [str(HERE), *part, "--clients", str(clients), "--classes", str(classes), "--steps", str(steps)]
            done = subprocess.run([sys.executable, *words], env=environment, stdout=subprocess.PIPE, text=True)
            if done.returncode:
                raise SystemExit(f"{clients} clients, {classes} classes: exit {done.returncode}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def exponent(before: float, after: float, factor: float) -> float:
    """The power of `factor` by which a figure grows from `before` to `after`."""
    return math.log(after / before) / math.log(factor)


def show_growth(cells: dict[tuple[int, int], dict[str, Any]]) -> None:
    """Print by which power the figures grow from the smallest to the largest number of clients, and of classes."""
    clients, classes = (sorted({key[axis] for key in cells}) for axis in (0, 1))
    figures: dict[str, Callable[[dict[str, Any]], float]] = {
        "server seconds": lambda c: sum(c["seconds"].values()),
        "memory": lambda c: c["memory"],
        "bytes up a client": lambda c: c["bytes"],
    }
    print("\n| grows with the power of | " + " | ".join(figures) + " |\n|---|" + "---|" * len(figures))
    few, many = clients[0], clients[-1]
    for n in classes if many > few else []:
        powers = [exponent(of(cells[few, n]), of(cells[many, n]), many / few) for of in figures.values()]
        print(f"| clients, {few} to {many}, {n} classes | " + " | ".join(f"{p:.2f}" for p in powers) + " |")
    few, many = classes[0], classes[-1]
    for n in clients if many > few else []:
        powers = [exponent(of(cells[n, few]), of(cells[n, many]), many / few) for of in figures.values()]
        print(f"| classes, {few} to {many}, {n} clients | " + " | ".join(f"{p:.2f}" for p in powers) + " |")


def main() -> None:
    """Print tables: of all cells, one a line, and of their growth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[5, 20, 50, 100])
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 43, 100, 200])
    parser.add_argument("--steps", type=float, default=0.05, help="share of the server's usual steps (0.05)")
    parser.add_argument("--tree", type=Path, default=HERE.parent.parent, help="a checkout of this repository")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.train:
        train_clients(arguments.train, arguments.clients[0], arguments.classes[0])
    elif arguments.serve:
        serve(arguments.serve, arguments.steps)
    else:
        show_cells(arguments.tree.resolve(), arguments.clients, arguments.classes, arguments.steps)


def show_cells(tree: Path, clients: list[int], classes: list[int], steps: float) -> None:
    """Measure and print all cells, and then how they grow."""
    stages = " | ".join(f"{stage} s" for stage in STAGES)
    print(f"| clients | classes | {stages} | server s | memory MiB | kB a client |")
    print("|---" * (len(STAGES) + 5) + "|")
    cells = dict[tuple[int, int], dict[str, Any]]()
    for k in clients:
        for n in classes:
            figures = cells[k, n] = cell(tree, k, n, steps)
            seconds = figures["seconds"]
            row = [*(f"{seconds[stage]:.1f}" for stage in STAGES), f"{sum(seconds.values()):.1f}"]
            row += [f"{figures['memory']:.0f}", f"{figures['bytes'] / 1000:.0f}"]
            print(f"| {k} | {n} | {' | '.join(row)} |", flush=True)
    show_growth(cells)


if __name__ == "__main__":
    main()
