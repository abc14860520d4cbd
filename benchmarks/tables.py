"""Tables: five sites with stacks of their own, one model, against pooled training. Resumable, one table.

    python benchmarks/tables.py ../shared/data/tables [--only adult] [--split 0.1] [--seeds 0,1] [--student xgboost]
        [--set SECTION.KEY=VALUE] [--out benchmarks/out/tables] [--peers all] [--only-peers]

The folder holds adult.csv, bank.csv, default.csv, heart.csv, letter.csv (UCI). 5,000 rows are for training (of Heart
70 %), all others test. Each cell is a run as `mosaic run` makes it; one that is finished is not run again, and one that
was killed goes on. "pooled" is the same student on all sites' rows. `--peers all`, or some of
them, adds columns of other methods on the same rows (`table_peers.py`); with `--only-peers` they are measured alone.
"""

import argparse
import json
import statistics
import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config
from mosaic_fl.engines.workers import one_thread
from mosaic_fl.models import trust
from mosaic_fl.notes import Note
from mosaic_fl.runs.folder import claim
from mosaic_fl.runs.runner import RunSetup, prepare, run
from mosaic_fl.storage.folder_lock import vacate
from table_peers import PEERS, TREES, TREES_OF_MANY, measure_peer
from table_peers import line as peer_line
from table_sets import divide, load

SPLITS = {
    "adult": ("0.1", "0.5", "age"),
    "bank": ("0.1", "0.5", "age"),
    "default": ("0.1", "0.5", "age"),
    "heart": ("site",),
    "letter": ("0.1",),
}
STACKS = ("xgboost", "random_forest", "lightgbm", "logistic", "mlp:64")
COLUMNS = ("best local", "mean probability", "class-weighted", "teacher", "student", "pooled")


@dataclass(frozen=True)
class Cell:
    """A data set, how its rows are divided, and the seed of rows, split and run."""

    data: str
    split: str
    seed: int

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.data}-{self.split}-{self.seed}"


def measure(cell: Cell, folder: Path, settings: dict[str, Any], out: Path) -> dict[str, Any]:
    """The content of the cell's `result.json`."""
    done = out / cell.name / "result.json"
    if done.exists():
        return dict(json.loads(done.read_text()))
    return run_on(cell, folder, {"run.centralised": True, **settings}, STACKS, out / cell.name)[1]


def run_on(
    cell: Cell, folder: Path, settings: dict[str, Any], stacks: tuple[str, ...], out: Path
) -> tuple[RunSetup, dict[str, Any]]:
    """The setup of a run with the cell's rows and sites, whose models are `stacks` in turn, and its result in `out`."""
    tables = load(folder, cell.data, cell.seed)
    shards = divide(tables, cell.split, cell.seed)
    fixed = {"run.seed": cell.seed, "partition.clients": len(shards), "data.name": cell.data}
    config = Config().with_values({**fixed, "models.clients": list(stacks), **settings})
    with one_thread(), ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("always", Note)
        setup = prepare(config, tables.splits)
        # Not all these splits have a name of their own: by age in equal parts, by hospital.
        sites = tuple(Site(k, shard, trust(stacks[k % len(stacks)])) for k, shard in enumerate(shards))
        models = [site.architecture for site in sites]
        setup = type(setup)(
            setup.config.with_values({"models.clients": models}), setup.splits, sites, setup.student, setup.device,
            f"{setup.inputs}-{cell.split}",
        )  # fmt: skip
        stack.callback(vacate)
        out.mkdir(parents=True, exist_ok=True)
        claim(out, "run", setup.inputs, setup.config, resume=True, force=False)
        return setup, run(setup, out)


def figures(result: dict[str, Any]) -> dict[str, dict[str, float | None]]:
    """By column of the table: AUROC, accuracy and log-loss."""
    quality = result["quality"]
    locals_ = [part for part in quality["local"] if part]
    accuracies = [value for value in result["local_accuracy"] if value is not None]
    best = max(range(len(locals_)), key=lambda k: (locals_[k]["auroc"] or 0.0, accuracies[k]))
    rows = {
        "best local": {**locals_[best], "accuracy": accuracies[best]},
        "mean probability": {**quality["mean_probability"], "accuracy": result["mean_probability_accuracy"]},
        "class-weighted": {**quality["class_weighted"], "accuracy": result["class_weighted_accuracy"]},
        "teacher": {**quality["teacher"], "accuracy": result["teacher_accuracy"]},
        "student": {**quality["served"], "accuracy": result["accuracy"]},
        "pooled": {**quality["centralised"], "accuracy": result["centralised_accuracy"]},
    }
    return {name: {key: row[key] for key in ("auroc", "accuracy", "log_loss")} for name, row in rows.items()}


def line(cells: list[dict[str, dict[str, float | None]]], column: str) -> str:
    """AUROC / accuracy / log-loss, mean over seeds."""
    means = [
        statistics.fmean(value for cell in cells if (value := cell[column][key]) is not None)
        for key in ("auroc", "accuracy", "log_loss")
    ]
    return f"{100 * means[0]:.2f} / {100 * means[1]:.1f} / {means[2]:.3f}"


def main() -> None:
    """Run what is asked for and print the table so far after each cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", help="data sets, with commas")
    parser.add_argument("--split", default="", help="splits, with commas")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--student", default="xgboost")
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="SECTION.KEY=VALUE")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/tables"))
    parser.add_argument("--peers", default="", help=f"of {', '.join(PEERS)}, with commas; or all")
    parser.add_argument("--only-peers", action="store_true", help="without the clients' models and Mosaic")
    options = parser.parse_args()
    settings = {"models.student": options.student}
    settings |= dict(setting.split("=", 1) for setting in options.settings)
    peers = PEERS if options.peers == "all" else tuple(filter(None, options.peers.split(",")))
    if unknown := set(peers) - set(PEERS):
        parser.error(f"--peers {', '.join(unknown)}: the peers are {', '.join(PEERS)}")
    columns = () if options.only_peers else COLUMNS
    heads = ("set, split", *columns, *peers, *(() if options.only_peers else ("recipe", "s")))
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for data, splits in SPLITS.items():
        if options.only and data not in options.only.split(","):
            continue
        for split in splits:
            if options.split and split not in options.split.split(","):
                continue
            cells = [Cell(data, split, int(seed)) for seed in options.seeds.split(",")]
            own = [] if options.only_peers else own_columns(cells, options.folder, settings, options.out)
            others = [peer_column(name, cells, options.folder, options.out) for name in peers]
            parts = [*own[: len(columns)], *others, *own[len(columns) :]]
            print(f"| {data}, {split} | {' | '.join(parts)} |", flush=True)


def own_columns(cells: list[Cell], folder: Path, settings: dict[str, Any], out: Path) -> list[str]:
    """The columns of the clients' models and of Mosaic, its recipes, and the mean seconds of a run."""
    results = [measure(cell, folder, settings, out) for cell in cells]
    values = [figures(result) for result in results]
    recipes = {f"{r['choice']['teacher']} {r['choice']['label']:.2g}" for r in results}
    seconds = statistics.fmean(sum(result["seconds"].values()) for result in results)
    return [*(line(values, column) for column in COLUMNS), ", ".join(sorted(recipes)), f"{seconds:.0f}"]


def peer_column(name: str, cells: list[Cell], folder: Path, out: Path) -> str:
    """The column of a peer, whose runs lie in the folder `peers`."""
    results = []
    for cell in cells:

        def start(own: dict[str, Any], stacks: tuple[str, ...], place: Path, cell: Cell = cell) -> Any:
            return run_on(cell, folder, own, stacks, place)

        results.append(
            measure_peer(name, start, out / "peers" / cell.name, TREES_OF_MANY if cell.data == "letter" else TREES)
        )
    return peer_line(results)


if __name__ == "__main__":
    main()
