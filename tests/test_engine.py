"""The local engine: any number of workers, faults, and what is kept."""

import os
import signal
import weakref
from pathlib import Path

import pytest
import torch
from torch import nn

from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.engines.contribution_store import ContributionStore
from mosaic_fl.engines.local import LocalFederation, worker_count
from mosaic_fl.engines.tasks import TaskResult
from mosaic_fl.engines.workers import Workers
from mosaic_fl.errors import MosaicError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.federation import FitJob, Start
from mosaic_fl.models import build, trust
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.storage.journal import Journal

CPU = torch.device("cpu")
QUICK = {
    "train.max_steps": 15, "train.min_steps": 5, "train.check_every": 5,
    "generator.steps": 5, "generator.latent": 4, "generator.width": 4,
}  # fmt: skip


def federation(digits: Dataset, workers: int, folder: Path | None = None, **more: object) -> LocalFederation:
    config = Config().with_values(
        {**QUICK, "run.workers": workers, **{k.replace("_", ".", 1): v for k, v in more.items()}}
    )
    sites = [Site(k, digits.subset(range(100 * k, 100 * k + 60 + k)), "mlp:8") for k in range(3)]
    return LocalFederation(sites, config, CPU, Journal(folder))


def test_worker_count() -> None:
    assert worker_count(3, 2, CPU) == 2
    assert worker_count(1, 9, CPU) == 1
    assert worker_count(8, 9, torch.device("cuda")) == 1
    assert worker_count(0, 10_000, CPU) == len(os.sched_getaffinity(0))


def test_all_answers_are_the_same_for_any_number_of_workers(digits: Dataset) -> None:
    answers = []
    for workers in (1, 2):
        with federation(digits, workers) as clients:
            with Stream(0, "init").ambient():
                state = copy_state(build("mlp:8", digits.schema))
            jobs = [FitJob(k, "mlp:8", state, {"lr": 1e-3}) for k in (2, 0)]
            fitted = clients.fit(jobs, 0)
            assert [f.client for f in fitted] == [2, 0]
            made = [c.to_bytes() for c in clients.contribute()]
            confusion = torch.stack(clients.evaluate("mlp:8", fitted[0].state))
            answers.append((torch.cat([f.state["head.weight"] for f in fitted]), made, confusion))
    assert torch.equal(answers[0][0], answers[1][0])
    assert answers[0][1] == answers[1][1]
    assert torch.equal(answers[0][2], answers[1][2])


@pytest.mark.parametrize("workers", [1, 2])
def test_the_bytes_of_one_contribution_at_a_time_are_in_memory(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """A thousand contributions are no more memory than one: each is in its file before the next is looked at."""
    results = list[weakref.ref[TaskResult]]()
    alive = list[int]()
    keep = ContributionStore.keep

    def watched(store: ContributionStore, contribution: Contribution, result: TaskResult) -> Contribution:
        alive.append(sum(earlier() is not None for earlier in results))
        results.append(weakref.ref(result))
        return keep(store, contribution, result)

    monkeypatch.setattr(ContributionStore, "keep", watched)
    with federation(digits, workers, tmp_path) as clients:
        clients.contribute()
    assert alive == [0, 0, 0]


def test_a_round_and_its_settings_change_the_result(digits: Dataset) -> None:
    with federation(digits, 1) as clients:
        state = copy_state(build("mlp:8", digits.schema))
        first, again, other_round = (clients.fit([FitJob(0, "mlp:8", state)], r)[0] for r in (0, 0, 1))
        slow = clients.fit([FitJob(0, "mlp:8", state, {"lr": 1e-9})], 0)[0]
    assert torch.equal(first.state["head.weight"], again.state["head.weight"])
    assert not torch.equal(first.state["head.weight"], other_round.state["head.weight"])
    assert torch.allclose(slow.state["head.weight"], state["head.weight"], atol=1e-6)


def test_contributions_start_from_given_weights(digits: Dataset) -> None:
    with federation(digits, 1, train_lr=1e-12) as clients:
        state = copy_state(build("mlp:8", digits.schema))
        made = clients.contribute({1: Start("mlp:8", state)})
    assert torch.allclose(made[1].expert["head.weight"], state["head.weight"], atol=1e-6)
    assert not torch.allclose(made[0].expert["head.weight"], state["head.weight"], atol=1e-6)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_client_that_fails_loses_nothing_of_the_others(digits: Dataset, tmp_path: Path, workers: int) -> None:
    """Client 1 asks for a model that its data does not fit; the others' contributions are on disk."""
    with federation(digits, workers, tmp_path) as clients:
        broken = Site(1, clients.sites[1].data, "nosuch:3")
    sites = [clients.sites[0], broken, clients.sites[2]]
    fault = pytest.raises(MosaicError, match="client 1: unknown model 'nosuch'")
    with LocalFederation(sites, clients.config, CPU, Journal(tmp_path)) as again, fault:
        again.contribute()
    assert sorted(p.name for p in (tmp_path / "contributions").iterdir()) == [
        "client-000.contribution",
        "client-002.contribution",
    ]


class Moody(nn.Module):
    """Takes the images that it is checked with, and then no batch of training."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training:
            raise TypeError("not today")
        logits: torch.Tensor = self.last(images.flatten(1))
        return logits


def test_whatever_a_users_model_raises_loses_nothing_of_the_others(digits: Dataset, tmp_path: Path) -> None:
    with federation(digits, 1, tmp_path) as clients:
        moody = Site(1, clients.sites[1].data, trust(Moody))
    sites = [clients.sites[0], moody, clients.sites[2]]
    fault = pytest.raises(MosaicError, match="client 1: TypeError: not today")
    with LocalFederation(sites, clients.config, CPU, Journal(tmp_path)) as again, fault:
        again.contribute()
    assert len(list((tmp_path / "contributions").iterdir())) == 2


def test_a_damaged_contribution_is_made_again(digits: Dataset, tmp_path: Path) -> None:
    with federation(digits, 1, tmp_path) as clients:
        before = [c.to_bytes() for c in clients.contribute()]
    path = tmp_path / "contributions" / "client-001.contribution"
    path.write_bytes(path.read_bytes()[:-3])
    with federation(digits, 1, tmp_path) as clients:
        assert [c.to_bytes() for c in clients.contribute()] == before


def test_a_killed_worker_is_a_fault_that_names_the_way_out(digits: Dataset) -> None:
    with federation(digits, 2, train_max_steps=100_000, train_min_steps=100_000, train_patience=0) as clients:
        assert isinstance(clients.workers, Workers)
        victim = next(iter(clients.workers.pool._processes))
        os.kill(victim, signal.SIGKILL)
        with pytest.raises(MosaicError, match="a worker process was killed.*--resume"):
            clients.contribute()


def test_a_worker_that_was_killed_while_it_spoke_does_not_stop_the_end(digits: Dataset) -> None:
    clients = federation(digits, 2)
    assert isinstance(clients.workers, Workers)
    clients.workers.news._wlock.acquire()  # type: ignore[attr-defined]  # of a worker that is no more
    clients.workers.close()
    assert not clients.workers.reader.is_alive()


def test_the_ceiling_learns_from_everyone(digits: Dataset, tmp_path: Path) -> None:
    with federation(digits, 2, tmp_path) as clients:
        clients.plan_ceiling("mlp:32", 100)
        clients.contribute()
        state = clients.ceiling()
    assert state["head.weight"].shape == (10, 32)
    with federation(digits, 1, tmp_path) as clients:  # read back, not trained again
        assert torch.equal(clients.ceiling()["head.weight"], state["head.weight"])
