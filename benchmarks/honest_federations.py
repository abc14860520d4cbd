"""Honest federations through the server's defence: whom does it doubt, and what does that cost? (docs/trust.md)

    python benchmarks/honest_federations.py --out honest.jsonl
    python benchmarks/honest_federations.py --out pictures.jsonl --pictures --clients 10 --splits 5
    python benchmarks/honest_federations.py --out full.jsonl --usual --clients 5 10 --splits 2
    python benchmarks/honest_federations.py --out rows.jsonl --rows --data adult.csv --set data.label_column=Salary

One line a split in the file `--out`; splits that are in it are not done again. By default clients have vectors of a
public encoder and class moments as generators, made in seconds. With `--pictures` or `--rows` they have networks and a
generator, with short trainings; with `--usual` those of the data and with their usual budgets. Where nobody is doubted
and nothing sifted the result is that without the defence, bit for bit. Elsewhere both are distilled and measured, by
short distillations.
"""

import argparse
import json
import sys
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mosaic_fl.cli.options import parse_settings
from mosaic_fl.client.contribute import contribute
from mosaic_fl.config import Config
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.models.inference import accuracy
from mosaic_fl.runs.runner import RunSetup, prepare
from mosaic_fl.server.distill import distill
from mosaic_fl.server.trust.report import ACCEPTED, QUARANTINED
from mosaic_fl.storage.journal import Journal
from mosaic_fl.training.monitor import Recorder

CPU = torch.device("cpu")
ALPHAS = (0.05, 0.1, 0.3, 1.0)
CLIENTS = (5, 10, 50)
MANY = 20  # clients beyond which the usual split finds no shares in which each has samples
# Short trainings: the models are worse than usual, which makes it harder to agree.
VECTORS = {"generator.family": "moments", "models.clients": ("mlp:64",), "train.max_steps": 150, "train.min_steps": 50}
ROWS = {"generator.steps": 400, "train.max_steps": 300}
PICTURES = {"generator.steps": 600, "train.max_steps": 200, "train.min_steps": 50}
SHORT = {"distill.terms": 1, "distill.steps": 600, "distill.pool": 8000}


def settings(arguments: argparse.Namespace, clients: int, alpha: float, seed: int) -> Config:
    """The settings of one split."""
    own: dict[str, Any] = VECTORS | {"data.encoder": arguments.encoder}
    if arguments.usual or arguments.pictures or arguments.rows:
        own = {} if arguments.usual else PICTURES if arguments.pictures else ROWS
    split = {"partition.clients": clients, "partition.alpha": alpha, "run.seed": seed, "data.name": arguments.data}
    split |= {"partition.split": "equal_size_prior"} if clients > MANY else {}
    most = {"data.max_train": arguments.samples} if arguments.samples else {}
    return Config().with_values(split | own | SHORT | most | parse_settings(arguments.set))


def contributions(setup: RunSetup) -> list[Contribution]:
    """What all sites of a split send."""
    return [contribute(site, setup.config, CPU, partial(Recorder, client=site.client)) for site in setup.sites]


def measured(setup: RunSetup, sent: list[Contribution], *, defence: bool) -> tuple[float, dict[str, Any]]:
    """The accuracy of the global model, and what the defence says."""
    config = setup.config.with_values({"trust.defence": defence})
    distilled = distill(sent, config, CPU, Journal())
    test = setup.splits.test
    return accuracy(distilled.model.logits(test.samples), test.labels), distilled.choice.get("trust", {})


def report(setup: RunSetup, sent: list[Contribution]) -> dict[str, Any]:
    """The line of one split: who was doubted, whether it alone holds a class, and the accuracies where anybody was."""
    from mosaic_fl.server.experts import MixtureOfExperts
    from mosaic_fl.server.joining import sampler_of
    from mosaic_fl.server.trust.vet import examine

    mixture = MixtureOfExperts.of(sent)
    start = time.perf_counter()
    seen = examine(sent, mixture.experts, lambda: sampler_of(sent, CPU, mixture.experts), setup.config, CPU)
    seconds = time.perf_counter() - start
    counts = torch.stack([c.class_counts for c in sent])
    alone = ((counts > 0) & (counts == counts.sum(0))).any(1).tolist()
    doubted = [
        {"client": v.client, "state": v.state, "alone": alone[k], "credit": list(v.credit), "model": v.model,
         "samples": v.samples, "witnesses": v.witnesses, "reasons": list(v.reasons), "generator": v.generator}
        for k, v in enumerate(seen.verdicts) if v.state != ACCEPTED
    ]  # fmt: skip
    scores = [s for v in seen.verdicts for s in (v.model, v.samples) if s is not None]
    line: dict[str, Any] = {
        "clients_sent": len(sent), "alone": sum(alone), "usual": seen.usual, "least": min(scores, default=None),
        "doubted": doubted, "told_of": [v.client for v in seen.verdicts if v.doubts], "sifted": sorted(seen.sifted),
        "seconds": round(seconds, 3),
    }  # fmt: skip
    if doubted or seen.sifted:
        line["with"], _ = measured(setup, sent, defence=True)
        line["without"], _ = measured(setup, sent, defence=False)
    return line


def summed(path: Path) -> str:
    """The figures over all lines of the file."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    clients = sum(line["clients_sent"] for line in lines)
    doubted = [row for line in lines for row in line["doubted"]]
    out = [row for row in doubted if row["state"] == QUARANTINED]
    differences = [line["with"] - line["without"] for line in lines if "with" in line]
    mean = sum(differences) / len(lines) if lines else 0.0
    alone = sum(row["alone"] for row in out)
    sifted = sum(len(line.get("sifted", [])) for line in lines)
    told_of = sum(len(line["told_of"]) for line in lines)
    return (
        f"{len(lines)} splits, {clients} clients: {len(out)} in quarantine ({alone} of them hold a class alone), "
        f"{len(doubted) - len(out)} in part, {sifted} with a class that is sifted, of {told_of} something is said; "
        f"accuracy {100 * mean:+.2f} points on average, "
        f"{100 * min(differences, default=0.0):+.2f} at worst"
    )


def main() -> None:
    """Run what is missing, and print the sums."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--samples", type=int, default=0, help="of the data at most; 0: all")
    parser.add_argument("--encoder", default="gabor")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--pictures", action="store_true")
    kind.add_argument("--rows", action="store_true")
    kind.add_argument("--usual", action="store_true", help="models, generators and budgets as usual for the data")
    parser.add_argument("--set", action="append", metavar="NAME=VALUE", help="a setting, may be repeated")
    parser.add_argument("--clients", type=int, nargs="*", default=list(CLIENTS))
    parser.add_argument("--alphas", type=float, nargs="*", default=list(ALPHAS))
    parser.add_argument("--splits", type=int, default=9, help="seeds of each number of clients and alpha")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    done = set[tuple[int, float, int]]()
    if arguments.out.exists():
        rows = [json.loads(line) for line in arguments.out.read_text().splitlines()]
        done = {(row["clients"], row["alpha"], row["seed"]) for row in rows}
    for seed in range(arguments.splits):
        for clients in arguments.clients:
            for alpha in arguments.alphas:
                if (clients, alpha, seed) in done:
                    continue
                setup = prepare(settings(arguments, clients, alpha, seed))
                line = {"clients": clients, "alpha": alpha, "seed": seed} | report(setup, contributions(setup))
                with arguments.out.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                print(json.dumps(line), file=sys.stderr, flush=True)
    print(summed(arguments.out))


if __name__ == "__main__":
    main()
