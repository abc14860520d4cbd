"""Attacks by clients on a distillation: accuracy, how often a backdoor opens, who is doubted, and what the checks cost.

    python benchmarks/hostile.py [--data ../shared/data] [--sets digits,mnist,adult] [--alphas 0.5,0.1]
        [--seeds 0,1,2,3,4] [--attacks label_flip,backdoor] [--malicious 1,2,3] [--undefended] [--quick]
        [--distillations 3] [--out benchmarks/out/hostile]

Of the folder --data are read mnist-train.parquet, mnist-test.parquet and tables/adult.csv (rows, of which backdoors
have no picture to paint on). Clients' contributions are cached in --out by what they were trained on, so an honest one
is computed once a (set, α, seed). Each cell is a line of
--out/cells.jsonl, and is not run again. "missing" leaves the attackers out. The last clients lie, as in
`mosaic run --attack`. A distillation follows from what counts of the contributions alone, so a cell in which the same
counts as in an earlier one, as where all liars are in quarantine, has its figures without another distillation.
With --distillations N a cell's figures are means of N distillations of the same contributions, each with a seed of its
own: one alone is uncertain by a point.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from hostile_cells import HONEST, MISSING, Cell, table
from mosaic_fl.attacks import backdoor
from mosaic_fl.attacks.attackers import Attackers, named
from mosaic_fl.client.contribute import Site, contribute
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.runs.runner import RunSetup, prepare
from mosaic_fl.server.distill import distill
from mosaic_fl.server.experts import MixtureOfExperts
from mosaic_fl.server.joining import sampler_of
from mosaic_fl.server.trust.credit import credited
from mosaic_fl.server.trust.report import TrustReport
from mosaic_fl.server.trust.vet import examine
from mosaic_fl.storage.files import sha256, write_atomic
from mosaic_fl.storage.journal import Journal
from mosaic_fl.training.monitor import Recorder

CPU = torch.device("cpu")
CLIENTS = 10
# Attacks that no single exchange of pictures has, and those of the moments that it does not tell.
LEFT_OUT = ("model_replacement", "reversed_update", "moments_scaled", "moments_flip")
SETS: dict[str, dict[str, Any]] = {
    "digits": {},
    "mnist": {"data.max_train": 5000, "models.clients": ["cnn:16:3", "cnn:24:3"], "models.student": "cnn:16:3"},
    "adult": {"data.max_train": 5000, "data.label_column": "Salary", "data.ignore": ["fnlwgt"]},
}
FILES = {"mnist": "mnist-train.parquet", "adult": "tables/adult.csv"}  # in the folder --data
QUICK = {
    "train.max_steps": 500,
    "generator.steps": 500,
    "distill.steps": 400,
    "distill.terms": 1,
    "distill.pool": 6000,
    "meta.steps": 100,
}
FIGURES = ("accuracy", "opens", "distil_seconds")  # of a distillation, the same for the same contributions
SEEDS_APART = 1000  # between the seeds of two distillations of one cell: no cell has another's


def setup_of(cell: Cell, arguments: argparse.Namespace) -> RunSetup:
    """The clients of a cell, without any attack."""
    values = {"run.seed": cell.seed, "partition.clients": CLIENTS, "partition.alpha": cell.alpha, **SETS[cell.data]}
    values |= QUICK if arguments.quick else {}
    if cell.data in FILES:
        values["data.name"] = str(Path(arguments.data) / FILES[cell.data])
    return prepare(Config().with_values(values))


def contribution_of(site: Site, config: Config, folder: Path) -> Contribution:
    """What the site sends: from its file in `folder`, or computed now."""
    about = json.dumps([config.train.model_dump(), config.generator.model_dump()], default=str)
    file = folder / f"client-{site.client:03d}-{sha256(site.digest.encode(), about.encode())[:12]}.safetensors"
    if not file.exists():
        made = contribute(site, config, CPU, partial(Recorder, client=site.client))
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, made.to_bytes())
    return Contribution.load(file)


def received(cell: Cell, setup: RunSetup, folder: Path) -> tuple[list[Contribution], tuple[int, ...]]:
    """(all that the server gets, who lies)."""
    place = folder / "contributions" / f"{cell.data}-{cell.alpha:g}-{cell.seed}"
    if cell.attack in (HONEST, MISSING):
        liars = tuple(range(CLIENTS - cell.liars, CLIENTS))
        sites = [site for site in setup.sites if cell.attack == HONEST or site.client not in liars]
        return [contribution_of(site, setup.config, place) for site in sites], ()
    attackers = Attackers.of(f"{cell.attack}:{cell.liars}", [site.data for site in setup.sites], cell.seed)
    sites = [replace(site, data=attackers.poison(site.client, site.data)) for site in setup.sites]
    return attackers.forge([contribution_of(site, setup.config, place) for site in sites]), attackers.liars


def accuracy(model: GlobalModel, test: Dataset) -> float:
    """The share of the test samples that the model names as they are."""
    return float((model.logits(test.samples).argmax(1) == test.labels).double().mean())


def opens(model: GlobalModel, test: Dataset) -> float:
    """The share of the samples of other classes that a patch turns into the backdoor's."""
    patched = backdoor.with_patch(test)
    return float((model.logits(patched.samples).argmax(1) == backdoor.TARGET).double().mean())


def report_on(contributions: Sequence[Contribution], config: Config) -> TrustReport:
    """What the server holds of the contributions."""
    mixture = MixtureOfExperts.of(contributions)
    return examine(contributions, mixture.experts, lambda: sampler_of(contributions, CPU, mixture.experts), config, CPU)


def fingerprint(contributions: Sequence[Contribution], report: TrustReport | None, config: Config) -> str:
    """Of all that a distillation reads: settings, what counts of each contribution, what is sifted, and all claims."""
    claims = {c.client: c.class_counts for c in contributions}
    counting = contributions if report is None else credited(contributions, report)
    parts = [part for c in counting for part in (c.to_bytes(), claims[c.client].numpy().tobytes())]
    sifted = {} if report is None else report.sifted
    return sha256(config.model_dump_json().encode(), *parts, *([repr(sifted).encode()] if sifted else []))


def figures_of(cell: Cell, contributions: Sequence[Contribution], config: Config, test: Dataset) -> dict[str, float]:
    """The `FIGURES`, means of the cell's distillations, of which the first has the seed of `config`."""
    count = cell.distillations
    seeds = [config.run.seed + SEEDS_APART * number for number in range(count)]
    started = time.perf_counter()
    models = [distill(contributions, config.with_values({"run.seed": s}), CPU, Journal()).model for s in seeds]
    seconds = (time.perf_counter() - started) / count
    return {
        "accuracy": statistics.mean(accuracy(model, test) for model in models),
        "opens": statistics.mean(opens(model, test) for model in models) if cell.data != "adult" else 0.0,
        "distil_seconds": seconds,
    }


def run_cell(cell: Cell, arguments: argparse.Namespace, earlier: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The figures of a cell, as JSON values; those of `earlier` distillations are by their fingerprint."""
    started = time.perf_counter()
    setup = setup_of(cell, arguments)
    contributions, liars = received(cell, setup, Path(arguments.out))
    config = setup.config.with_values({"trust.defence": cell.defended})
    trained = time.perf_counter()
    report = report_on(contributions, config) if cell.defended else None
    checked = time.perf_counter()
    mark = fingerprint(contributions, report, config) + cell.times
    if mark not in earlier:
        earlier[mark] = figures_of(cell, contributions, config, setup.splits.test)
    trust = {} if report is None else report.to_json()
    return {
        "key": cell.key,
        "data": cell.data,
        "alpha": cell.alpha,
        "seed": cell.seed,
        "attack": cell.attack,
        "liars": cell.liars,
        "defended": cell.defended,
        "distillations": cell.distillations,
        "quarantined": trust.get("quarantined", []),
        "down_weighted": trust.get("down_weighted", []),
        "reasons": [line for v in trust.get("clients", []) for line in v["reasons"]],
        "liar_numbers": list(liars),
        "check_seconds": checked - trained,
        "client_seconds": trained - started,
        "fingerprint": mark,
        **earlier[mark],
    }


def cells_of(arguments: argparse.Namespace) -> Iterator[Cell]:
    """The cells, honest and missing ones first of each (set, α, seed)."""
    attacks = arguments.attacks.split(",") if arguments.attacks else [n for n in named() if n not in LEFT_OUT]
    for name in attacks:
        if name not in named():
            raise UsageError(f"unknown attack {name!r}: known are {', '.join(named())}")
    many = [int(number) for number in arguments.malicious.split(",")]
    for data in arguments.sets.split(","):
        for alpha in map(float, arguments.alphas.split(",")):
            for seed in map(int, arguments.seeds.split(",")):
                words = {"defended": not arguments.undefended, "distillations": arguments.distillations}
                at = partial(Cell, data, alpha, seed, **words)
                yield at(HONEST, 0)
                yield from (at(MISSING, liars) for liars in many)
                yield from (at(attack, liars) for attack in attacks for liars in many)


def parser() -> argparse.ArgumentParser:
    """The words of the command."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--data", default="../shared/data", help="the folder of MNIST and of tables/adult.csv")
    words.add_argument("--sets", default="digits,mnist")
    words.add_argument("--alphas", default="0.5,0.1")
    words.add_argument("--seeds", default="0,1,2,3,4")
    words.add_argument("--attacks", default="", help="names, with commas between; without it all of one exchange")
    words.add_argument("--malicious", default="1,2,3", help="how many of ten lie")
    words.add_argument("--undefended", action="store_true", help="without the server's defence")
    words.add_argument("--quick", action="store_true", help="short training: cells of seconds")
    words.add_argument("--distillations", type=int, default=1, help="of which a cell's figures are the means")
    words.add_argument("--clients-only", action="store_true", help="compute the contributions alone")
    words.add_argument("--out", default="benchmarks/out/hostile")
    return words


def main() -> None:
    """Run what is missing, then print the table of all cells that were asked for."""
    arguments = parser().parse_args()
    torch.set_num_threads(1)
    file = Path(arguments.out) / "cells.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = file.read_text().splitlines() if file.exists() else []
    done = {row["key"]: row for row in map(json.loads, lines)}
    earlier = {row["fingerprint"]: {name: row[name] for name in FIGURES} for row in done.values()}
    cells = list(cells_of(arguments))
    for cell in cells:
        if arguments.clients_only:
            received(cell, setup_of(cell, arguments), Path(arguments.out))
            continue
        if cell.key in done:
            continue
        row = run_cell(cell, arguments, earlier)
        done[cell.key] = row
        with file.open("a") as out:
            out.write(json.dumps(row) + "\n")
        print(f"{cell.key}: {100 * row['accuracy']:.1f} %, opens {100 * row['opens']:.0f} %", file=sys.stderr)
    print(table([done[cell.key] for cell in cells if cell.key in done]))


if __name__ == "__main__":
    try:
        main()
    except UsageError as error:
        sys.exit(str(error))
