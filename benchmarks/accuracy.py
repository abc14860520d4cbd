"""Accuracy on MNIST and CIFAR-10 under extreme heterogeneity: every cell a `mosaic run`, resumable, one table.

    python benchmarks/accuracy.py ../shared/data [--only mnist] [--seeds 0,1,2] [--out benchmarks/out/accuracy] [--list]

The folder holds mnist-train.parquet, mnist-test.parquet, cifar10-train.parquet, cifar10-test.parquet. A cell that is
finished is not run again; one that was killed goes on. Each line of the table can be had alone with --only.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cell:
    """One setting: its name, the words of `mosaic run` behind --data, the data set, and the target in percent."""

    name: str
    data: str
    words: tuple[str, ...]
    target: str = ""


# The clients' validation splits choose teacher and label share; both cores serve the server's larger batches.
CHOSEN = ("--choose", "--set", "run.threads=2")
# Small networks that two cores can afford, five of them or one for all. What was tried: docs/notes/natural-images.md.
CIFAR = (
    *("--clients", "5", "--set", "data.max_train=10000", "--set", "run.threads=2"),
    *("--set", "train.max_steps=800", "--set", "train.patience=0", "--set", "generator.steps=800"),
    *("--set", "rounds.lr=0.02"),  # FedAvg's on validation splits, α = 0.1: 39.3, 43.3, 33.9 at 0.01, 0.02, 0.05
)
NATURAL = ("--preset", "natural")
MNIST = (
    *("--student", "cnn:16:3", "--set", "generator.steps=2500", "--set", "meta.steps=500"),
    *("--set", "distill.pool=40000", "--set", "distill.steps=1500", *CHOSEN),
)
MIXED = ("--models", "cnn:16:3,cnn:24:3,cnn:32:3", "--student", "cnn:32:3")
EQUAL = ("--models", "cnn:32:3", "--student", "cnn:32:3")
# 20 exchanges: for Mosaic 19 rounds of 50 local steps and one contribution of at most 800 (FedAvg loses to its one-shot
# student already, so it is not given more than 50); FedRolex gets 20 rounds of 90, as many steps in all.
LOCAL = ("--set", "rounds.steps=50")
MORE_LOCAL = ("--set", "rounds.steps=90")
# The paper's recipe with what two cores can afford of its budgets; in one exchange there are no rounds around it.
PAPER = (
    *("--preset", "paper", "--rounds", "0", "--finetune-rounds", "0", "--set", "train.max_steps=800"),
    *("--set", "generator.epochs=0", "--set", "generator.steps=300", "--set", "generator.width=32"),
    *("--set", "distill.steps=400", "--set", "data.max_train=10000", "--set", "run.threads=2", *EQUAL),
)
# Widths 1, 1/2, … 1/16 of one architecture, two clients each; the same rounds with Mosaic behind 19 of them.
WIDTHS = ("--clients", "10", "--alpha", "0.1", "--set", "rounds.kind=fedrolex", "--set", "train.max_steps=800", *EQUAL)


def cells() -> list[Cell]:
    """All cells, in the order of the table."""
    return [*_mnist(), *_cifar(), *_widths()]


def _mnist() -> list[Cell]:
    found = []
    for alpha, target in (("0.01", "96.5"), ("0.05", "97.5"), ("0.1", "98")):
        words = ("--clients", "10", "--alpha", alpha, *MNIST)
        found.append(Cell(f"mnist, 10 clients, α = {alpha}, mixed, one-shot", "mnist", words, target))
    words = ("--clients", "5", "--alpha", "0.1", *MNIST)
    return [*found, Cell("mnist, 5 clients, α = 0.1, mixed, one-shot", "mnist", words, "97.5")]


def _cifar() -> list[Cell]:
    found = []
    for alpha in ("0.01", "0.1", "0.5"):
        at = (*CIFAR, "--alpha", alpha)
        fedavg = (*at, *EQUAL, "--method", "fedavg")
        paper = (*PAPER, "--clients", "5", "--alpha", alpha)
        words = {
            "mixed, one-shot": (*at, *MIXED, *NATURAL),
            "mixed, 20 rounds": (*at, *MIXED, *NATURAL, *LOCAL, "--rounds", "19"),
            "equal, one-shot": (*at, *EQUAL, *NATURAL),
            "equal, fedavg, 1 round": (*fedavg, "--set", "rounds.optimiser=train"),
            "equal, paper, one-shot": paper,
            "equal, 20 rounds": (*at, *EQUAL, *NATURAL, *LOCAL, "--rounds", "19"),
            "equal, fedavg, 20 rounds": (*fedavg, *LOCAL, "--rounds", "20"),
        }
        for setting, said in words.items():
            target = "48" if (alpha, setting) == ("0.1", "mixed, one-shot") else ""
            found.append(Cell(f"cifar10 subset, 5 clients, α = {alpha}, {setting}", "cifar10", said, target))
    return found


def _widths() -> list[Cell]:
    found = []
    for data, subset, budget in (("mnist", "", MNIST), ("cifar10", " subset", (*CIFAR, *NATURAL))):
        name = f"{data}{subset}, 10 clients of 5 widths, α = 0.1, 20 rounds"
        size = ("--set", "data.max_train=10000") if subset else ()
        found += [
            Cell(f"{name}, fedrolex", data, (*size, *WIDTHS, *MORE_LOCAL, "--rounds", "20", "--method", "fedrolex")),
            Cell(f"{name}, mosaic on fedrolex", data, (*budget, *WIDTHS, *LOCAL, "--rounds", "19"), "fedrolex + 3"),
        ]
    return found


def run(cell: Cell, seed: int, data: Path, out: Path, settings: list[str]) -> dict | None:
    """The cell's `result.json`, made now or before; None where the run failed, which is said on stderr."""
    folder = out / cell.name.replace(" ", "").replace(",", "_").replace("=", "") / f"seed-{seed}"
    spent_in = folder.with_suffix(".seconds")
    if not (folder / "result.json").exists():
        words = [
            "run",
            "--data",
            str(data / cell.data),
            *cell.words,
            *(word for setting in settings for word in ("--set", setting)),
            "--seed",
            str(seed),
            "--out",
            str(folder),
            "--resume",
        ]
        print(f"{cell.name}, seed {seed}: mosaic {' '.join(words)}", file=sys.stderr, flush=True)
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "mosaic_fl.cli.main", *words], stdout=subprocess.DEVNULL, check=False
        )
        spent_in.parent.mkdir(parents=True, exist_ok=True)
        with spent_in.open("a") as spent:  # one line a start: a killed run has several
            print(time.perf_counter() - start, file=spent)
        if done.returncode:
            return None
    wall = sum(float(line) for line in spent_in.read_text().split())
    return json.loads((folder / "result.json").read_text()) | {"wall": wall}


def row(cell: Cell, results: list[dict]) -> str:
    """One line of the table, accuracies in percent, minutes of the slowest run from start to end."""

    def figure(name: str) -> str:
        values = [100 * r[name] for r in results if r.get(name) is not None]
        if not values:
            return "–"
        spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
        return f"{statistics.fmean(values):.1f}{spread}"

    names = ("ensemble_accuracy", "class_weighted_accuracy", "teacher_accuracy", "accuracy")
    seconds = max(r["wall"] for r in results)
    figures = " | ".join(figure(name) for name in names)
    return f"| {cell.name} | {len(results)} | {figures} | {cell.target} | {seconds / 60:.1f} |"


def main() -> None:
    """Run what is missing, one after the other, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", default="", help="cells whose name has this in it")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/accuracy"))
    parser.add_argument("--set", action="append", default=[], help="changes every run, as run.threads=1")
    parser.add_argument("--list", action="store_true", help="print the cells and end")
    options = parser.parse_args()
    chosen = [cell for cell in cells() if options.only in cell.name]
    if options.list or not chosen:
        print("\n".join(cell.name for cell in (chosen or cells())))
        sys.exit(0 if options.list else 2)
    if not options.data.is_dir():
        parser.error(f"{options.data} is not a folder")
    print("| cell | seeds | mean logits | class-weighted | meta teacher | one model | target | minutes |")
    print("|---|---|---|---|---|---|---|---|")
    for cell in chosen:
        made = [run(cell, int(seed), options.data, options.out, options.set) for seed in options.seeds.split(",")]
        results = [r for r in made if r is not None]
        if results:
            print(row(cell, results), flush=True)


if __name__ == "__main__":
    main()
