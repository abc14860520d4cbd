"""What each stage costs by the number of clients, and by which power it grows: FedAvg against a plain loop, and Mosaic.

    python benchmarks/clients.py --data mnist-train.parquet --out out/clients --clients 10,100,1000

Each client has 48 pictures (equal_size_prior, α = 0.3) and an `mlp:32`. The first so many of a thousand clients are a
cell, so that all cells have the same contributions. They are made once, with few steps: it is time and memory that
count. The server takes all its usual steps, or a share of them (`--steps`), with the meta model as teacher and without
prior samples. Seconds are the processor's, on one thread; memory is the peak of the cell's own process. A file a cell:
what is there is not measured again.
"""

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

CLIENTS = 1000
MODEL = "mlp:32"
LOCAL_STEPS = 10
LR = 0.05
PARTS = ("fedavg", "mosaic")
HERE = Path(__file__).resolve()
SPREAD = {"partition.clients": CLIENTS, "partition.alpha": 0.3, "partition.split": "equal_size_prior"}
SHORT = {
    "train.min_steps": 40,
    "train.max_steps": 40,
    "generator.family": "cvae",
    "generator.width": 4,
    "generator.steps": 16,
    "generator.batch_size": 32,
    "generator.perceptual": 0.0,
}
PLAIN = {
    "run.workers": 1,
    "data.validation": 0.0,
    "rounds.steps": LOCAL_STEPS,
    "rounds.lr": LR,
    "train.momentum": 0.0,
    "train.weight_decay": 0.0,
    "train.schedule": "constant",
}


def sites_of(out: Path, data: str) -> Any:
    """The thousand sites; the pictures are decoded once."""
    from mosaic_fl.config import Config
    from mosaic_fl.domains.dataset import Dataset, Splits, image_dataset
    from mosaic_fl.encoders.reading import load
    from mosaic_fl.engines.sites import spread

    config = Config().with_values({**SPREAD, "data.name": data})
    kept = out / "pictures.pt"
    if not kept.exists():
        train = load(config).train
        torch.save({"images": train.images, "labels": train.labels, "schema": train.schema.to_json()}, kept)
    from mosaic_fl.domains.schema import Schema

    stored = torch.load(kept, weights_only=True)  # this script's own
    train: Dataset = image_dataset(stored["images"], stored["labels"], Schema.from_json(stored["schema"]))
    return spread(config, Splits("pictures", train, train.subset([0])), [MODEL])


def contribute_all(out: Path, data: str, count: int) -> float:
    """Make the contributions of the first `count` clients that are not there; seconds of each."""
    from mosaic_fl.client.contribute import contribute
    from mosaic_fl.config import Config
    from mosaic_fl.training.monitor import Recorder

    config = Config().with_values({**SPREAD, **SHORT})
    seconds = list[float]()
    for site in sites_of(out, data)[:count]:
        path = out / "contributions" / f"client-{site.client:04d}.contribution"
        if not path.exists():
            start = time.process_time()
            made = contribute(site, config, torch.device("cpu"), lambda _: Recorder()).to_bytes()
            path.with_suffix(".part").write_bytes(made)
            path.with_suffix(".part").replace(path)
            seconds.append(time.process_time() - start)
    return statistics.median(seconds) if seconds else math.nan


def peak() -> float:
    """The peak of this process's memory, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def mosaic(out: Path, count: int, steps: float) -> dict[str, Any]:
    """Seconds of each of the server's stages."""
    from mosaic_fl.config import Config
    from mosaic_fl.runs.received import read_contributions
    from mosaic_fl.server.distill import distill
    from mosaic_fl.storage.journal import Advance, Journal, Stage

    seconds = dict[str, float]()

    def timed(name: str, work: Callable[[], Any]) -> Any:
        start = time.process_time()
        result = work()
        seconds[name] = time.process_time() - start
        return result

    class Clock(Journal):
        def parts(self, name: str, count: int, compute: Advance) -> Stage:
            return timed(name, lambda: super(Clock, self).parts(name, count, compute))

    usual = Config()
    values = {"distill.prior": "none", "distill.teacher": "meta", "distill.terms": 1}
    for name, whole in (("meta.steps", usual.meta.steps), ("distill.steps", usual.distill.steps)):
        values[name] = max(1, round(steps * whole))
    config = usual.with_values(values)
    paths = sorted((out / "contributions").glob("*.contribution"))[:count]
    contributions = timed("read", lambda: read_contributions(paths))
    with tempfile.TemporaryDirectory() as run:
        timed("all", lambda: distill(contributions, config, torch.device("cpu"), Clock(Path(run))))
    whole = seconds.pop("all")
    seconds["rest"] = whole - sum(value for name, value in seconds.items() if name != "read")
    return {"seconds": seconds, "memory": peak()}


def fedavg(out: Path, data: str, count: int, rounds: int) -> dict[str, Any]:
    """Seconds of a round: ours, and of a loop without this package that takes the same steps on the same pictures.

    They take turns, and each figure is the median of the rounds. The first one of each is left out.
    """
    from mosaic_fl.config import Config
    from mosaic_fl.engines.local import LocalFederation
    from mosaic_fl.methods.averaging import averaging_rounds
    from mosaic_fl.models import build
    from mosaic_fl.numerics.states import copy_state
    from mosaic_fl.storage.journal import Journal

    sites = sites_of(out, data)[:count]
    config = Config().with_values({**SPREAD, **PLAIN})
    states = {MODEL: copy_state(build(MODEL, sites[0].data.schema))}
    groups = dict.fromkeys(range(count), MODEL)
    ours = list[float]()
    plain = list[float]()
    loop = PlainLoop(sites, build(MODEL, sites[0].data.schema))
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalFederation(sites, config, torch.device("cpu"), journal := Journal(Path(folder))) as federation,
    ):
        for round in range(rounds + 1):
            start = time.process_time()
            states = averaging_rounds(federation, groups, states, range(round, round + 1), config.rounds, 0, journal)
            ours.append(time.process_time() - start)
            start = time.process_time()
            loop.round()
            plain.append(time.process_time() - start)
    pairs = {"ours": statistics.median(ours[1:]), "plain loop": statistics.median(plain[1:])}
    return {"seconds": pairs, "memory": peak()}


class PlainLoop:
    """FedAvg as one writes it by hand: a network, its weights copied in and out, and their mean."""

    def __init__(self, sites: Any, network: nn.Module) -> None:
        self.network = network.train()
        self.data = [(site.data.images, site.data.labels) for site in sites]
        self.weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        self.rng = torch.Generator().manual_seed(0)

    def round(self) -> None:
        """Train every client from the common weights, and average by samples."""
        total = sum(len(labels) for _, labels in self.data)
        mean = {name: torch.zeros_like(tensor) for name, tensor in self.weights.items()}
        for images, labels in self.data:
            self.network.load_state_dict(self.weights)
            optimiser = torch.optim.SGD(self.network.parameters(), lr=LR, fused=True)
            for _ in range(LOCAL_STEPS):
                index = torch.randperm(len(labels), generator=self.rng)[:64]
                inputs = images[index].float() / 127.5 - 1
                loss = F.cross_entropy(self.network(inputs), labels[index])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            for name, tensor in self.network.state_dict().items():
                if tensor.is_floating_point():
                    mean[name] += tensor * (len(labels) / total)
        self.weights = mean


def measured(out: Path, part: str, count: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures of a cell, of its file where it has one, else of a process of its own."""
    amount = arguments.rounds if part == "fedavg" else arguments.steps
    path = out / f"{part}-{count}-{amount}.json"
    if not path.exists():
        words = [sys.executable, str(HERE), "--data", arguments.data, "--out", str(out), "--clients", str(count)]
        words += ["--cell", part, "--steps", str(arguments.steps), "--rounds", str(arguments.rounds)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        path.write_text(done.stdout.splitlines()[-1])
    figures: dict[str, Any] = json.loads(path.read_text())
    return figures


def show(part: str, cells: dict[int, dict[str, Any]]) -> None:
    """Print a line a number of clients, and the powers by which the figures grow."""
    names = list(dict.fromkeys(name for cell in cells.values() for name in cell["seconds"]))
    print(f"\n{part}\n\n| clients | " + " | ".join(f"{name} s" for name in names) + " | all s | memory MiB |")
    print("|---" * (len(names) + 3) + "|")
    for count, cell in cells.items():
        seconds = cell["seconds"]
        row = [f"{seconds.get(name, 0.0):.2f}" for name in names]
        print(f"| {count} | {' | '.join(row)} | {sum(seconds.values()):.1f} | {cell['memory']:.0f} |")
    few, many = min(cells), max(cells)
    if many > few:

        def power(of: Callable[[dict[str, Any]], float]) -> str:
            before, after = of(cells[few]), of(cells[many])
            return f"{math.log(after / before) / math.log(many / few):.2f}" if before > 0 and after > 0 else "–"

        powers = [power(lambda cell, name=name: cell["seconds"].get(name, 0.0)) for name in names]  # type: ignore[misc]
        whole = power(lambda cell: sum(cell["seconds"].values()))
        print(f"| power | {' | '.join(powers)} | {whole} | {power(lambda cell: cell['memory'])} |")


def draw(cells: dict[int, dict[str, Any]], place: Path) -> None:
    """A picture of Mosaic's seconds by stage and of its memory, by clients, both axes logarithmic."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "clients", "font.size": 9}
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    time, memory = figure.subplots(1, 2)
    counts = sorted(cells)
    for name in cells[counts[-1]]["seconds"]:
        time.plot(counts, [cells[count]["seconds"].get(name, math.nan) for count in counts], marker="o", label=name)
    everything = [sum(cells[count]["seconds"].values()) for count in counts]
    time.plot(counts, everything, "k--", marker="o", label="all")
    time.set(xlabel="clients", ylabel="seconds of a processor", xscale="log", yscale="log")
    figure.legend(fontsize=7, loc="outside right upper")
    memory.plot(counts, [cells[count]["memory"] for count in counts], "k", marker="o")
    memory.set(xlabel="clients", ylabel="peak memory, MiB", xscale="log", ylim=(0, None))
    figure.savefig(place, metadata={"Date": None})


def main() -> None:
    """Measure what is not there yet, and print a table a part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a Parquet file of pictures, as MNIST's training part")
    parser.add_argument("--out", type=Path, required=True, help="a folder for contributions and figures")
    parser.add_argument("--clients", default="10,100,1000", help="numbers of clients, up to 1000")
    parser.add_argument("--parts", default=",".join(PARTS), help="fedavg, mosaic")
    parser.add_argument("--steps", type=float, default=1.0, help="share of the server's usual steps")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of FedAvg that are measured")
    parser.add_argument("--picture", type=Path, help="an SVG of the part mosaic")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    out = arguments.out.resolve()
    (out / "contributions").mkdir(parents=True, exist_ok=True)
    counts = [int(word) for word in arguments.clients.split(",")]
    if arguments.cell == "mosaic":
        print(json.dumps(mosaic(out, counts[0], arguments.steps)))
    elif arguments.cell == "fedavg":
        print(json.dumps(fedavg(out, arguments.data, counts[0], arguments.rounds)))
    else:
        parts = arguments.parts.split(",")
        if "mosaic" in parts:
            print(f"a contribution: {contribute_all(out, arguments.data, max(counts)):.2f} s (median; nan: all kept)")
        for part in parts:
            cells = {count: measured(out, part, count, arguments) for count in counts}
            show(part, cells)
            if part == "mosaic" and arguments.picture:
                draw(cells, arguments.picture)


if __name__ == "__main__":
    main()
