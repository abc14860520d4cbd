"""Peers on the cells of `benchmarks/tables.py`: averaged networks, tuned, and trees that all sites grow together.

FedAvg and FedProx have 20 rounds of a network without batch norm: with it (mlp:128:2) the best of the grid had an AUROC
of 78 on Adult at α = 0.1, where this one has 89. Their learning rate and local steps are those of `GRID` with the best
figure on the clients' validation rows: AUROC of two classes, else accuracy. The test rows have no part in it. The
methods of trees choose their number of rounds on the same rows (`boosting.patience`).

One cell at a time; what is finished is not run again:

    for set in adult bank default letter; do for seed in 0 1 2 3 4; do python benchmarks/tables.py \\
        ../shared/data/tables --only $set --seeds $seed --peers all --only-peers; done; done
"""

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mosaic_fl.client.contribute import split
from mosaic_fl.domains.dataset import pool
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.runs.quality import quality
from mosaic_fl.runs.runner import RunSetup

NETWORK = "table_network:plain"
ROUNDS = 20
TREES = 300  # a class at most, of two classes: the rounds end before
TREES_OF_MANY = 100  # of more classes, as the student of trees has
GRID = tuple({"rounds.lr": lr, "rounds.steps": steps} for lr in (0.01, 0.05, 0.2) for steps in (5, 25, 100))
AVERAGED = ("fedavg", "fedprox")
BOOSTED = ("federated_bagging", "federated_xgboost")
PEERS = (*AVERAGED, *BOOSTED)
FIGURES = ("auroc", "accuracy", "log_loss")

Run = Callable[[dict[str, Any], tuple[str, ...], Path], tuple[RunSetup, dict[str, Any]]]
"""(settings, models of the sites in turn, folder) -> the run's setup, and the content of its `result.json`."""


def measure_peer(name: str, run: Run, folder: Path, trees: int = TREES) -> dict[str, Any]:
    """The peer's figures on the test rows, and its settings; each of its runs has a folder in `folder` and is kept.

    A run that is finished is not run again, and one that was killed goes on.
    """
    path = folder / f"{name}.json"
    if path.exists():
        return dict(json.loads(path.read_text()))
    proximal = {"train.proximal": 0.01} if name == "fedprox" else {}
    averaged = [{"rounds.warm_up": ROUNDS, **proximal, **point} for point in GRID]
    candidates = averaged if name in AVERAGED else [{"rounds.warm_up": trees}]
    best = dict[str, Any]()
    for settings in candidates:
        mark = "-".join([name, *(f"{value:g}" for value in settings.values())])
        own = {"run.method": name, "models.student": NETWORK, **settings}
        setup, result = run(own, (NETWORK,), folder / mark)
        score = validation_score(setup, folder / mark) if len(candidates) > 1 else 0.0
        if not best or score > best["validation"]:
            figures = {"accuracy": result["accuracy"], **result["quality"]["served"]}
            seconds = sum(result["seconds"].values())
            best = {"settings": settings, "validation": score, "seconds": seconds, "served": result["student"]}
            best |= {key: figures[key] for key in FIGURES}
    path.write_text(json.dumps(best, indent=1) + "\n")
    return best


def validation_score(setup: RunSetup, folder: Path) -> float:
    """The global model's AUROC on all clients' validation rows, of more than two classes its accuracy."""
    rows = pool([split(site, setup.config)[1] for site in setup.sites])
    logits = GlobalModel.load(folder).logits(rows.samples)
    auroc = quality(logits, rows.labels)["auroc"] if rows.schema.num_classes == 2 else None
    return float((logits.argmax(1) == rows.labels).to(torch.float32).mean()) if auroc is None else auroc


def line(results: list[dict[str, Any]]) -> str:
    """AUROC / accuracy / log-loss, mean over seeds."""
    means = [statistics.fmean(result[key] for result in results) for key in FIGURES]
    return f"{100 * means[0]:.2f} / {100 * means[1]:.1f} / {means[2]:.3f}"
