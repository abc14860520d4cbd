"""What the tests of methods in rounds use: a small real federation, and its method run whole or in two parts."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.engines.local import LocalFederation
from mosaic_fl.exchange.federation import FitJob, Fitted
from mosaic_fl.methods.outcome import Method, Outcome
from mosaic_fl.storage.journal import Journal

CPU = torch.device("cpu")
QUICK = {
    "run.workers": 1, "train.min_steps": 5, "train.max_steps": 5, "train.check_every": 5,
    "generator.steps": 3, "generator.latent": 4, "generator.width": 4, "distill.pool": 64, "distill.steps": 4,
    "distill.batch_size": 16, "synthesis.epochs": 2, "synthesis.generator_steps": 2, "synthesis.student_steps": 2,
    "synthesis.batch_size": 16, "synthesis.latent": 6, "synthesis.width": 8,
}  # fmt: skip


class Listening(LocalFederation):
    """Remembers what the clients were asked and what they answered."""

    def fit(self, jobs: Any, round: int) -> list[Fitted]:
        """As the local engine."""
        self.jobs: list[list[FitJob]] = [*getattr(self, "jobs", []), list(jobs)]
        self.answers: list[list[Fitted]] = [*getattr(self, "answers", []), super().fit(jobs, round)]
        return self.answers[-1]


def run(
    method: Method, digits: Dataset, rounds: int, folder: Path | None = None, spec: str = "cnn:4:1", **more: Any
) -> tuple[Outcome, Listening]:
    """The outcome of `rounds` rounds of three clients, of 40, 60 and 80 digits, and what they heard."""
    config = Config().with_values(
        {**QUICK, "rounds.warm_up": rounds, **{k.replace("_", ".", 1): v for k, v in more.items()}}
    )
    sites = [Site(k, digits.subset(range(100 * k, 100 * k + 40 + 20 * k)), spec) for k in range(3)]
    journal = Journal(folder)
    with Listening(sites, config, CPU, journal) as federation:
        return method(federation, config, CPU, journal), federation


def weights(outcome: Outcome) -> Tensor:
    """All weights and statistics of the outcome's model, in one row."""
    assert outcome.model is not None
    return torch.cat([tensor.flatten().double() for _, tensor in sorted(outcome.model.state.items())])


def same_jobs(one: list[FitJob], other: list[FitJob]) -> bool:
    """Whether a cache of `fit` by content would take them for the same."""
    return all(
        (a.client, a.architecture, a.settings, a.latent) == (b.client, b.architecture, b.settings, b.latent)
        and all(torch.equal(a.state[name], b.state[name]) for name in a.state)
        for a, b in zip(one, other, strict=True)
    )


def check_a_method(method: Method, fedavg: Method, digits: Dataset, folder: Path, **more: Any) -> None:
    """What holds for all: FedAvg's first jobs; the same twice; a run taken up after its first round ends alike."""
    whole, federation = run(method, digits, 2, folder / "whole", **more)
    again, _ = run(method, digits, 2, **more)
    _, plain = run(fedavg, digits, 1, **more)
    assert same_jobs(federation.jobs[0], plain.jobs[0])
    assert torch.equal(weights(whole), weights(again))
    assert bool(weights(whole).isfinite().all())
    run(method, digits, 1, folder / "parts", **more)
    resumed, rest = run(method, digits, 2, folder / "parts", **more)
    assert torch.equal(weights(resumed), weights(whole))
    assert len(rest.jobs) == 1  # the first round was not done again
    kept = Journal(folder / "parts")
    assert [bool(stage.tensors) for r in range(2) if (stage := kept.recall(f"round-{r:04d}"))] == [False, True]
    finished, nobody = run(method, digits, 2, folder / "parts", **more)
    assert not hasattr(nobody, "jobs")
    assert torch.equal(weights(finished), weights(whole))
    assert (finished.bytes_up, finished.bytes_down) == (whole.bytes_up, whole.bytes_down)
