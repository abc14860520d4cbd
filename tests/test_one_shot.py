"""DENSE and Co-Boosting: a killed server loses no epochs that it wrote down; batches of the pool."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config, SynthesisConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.engines.local import LocalFederation
from mosaic_fl.errors import UsageError
from mosaic_fl.methods import METHODS
from mosaic_fl.methods.coboosting import reweigh
from mosaic_fl.methods.one_shot import PARTS, parts_of
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.models import trust
from mosaic_fl.server.synthesis.generator import fit_batch
from mosaic_fl.server.synthesis.student import learn
from mosaic_fl.storage.journal import Journal

CPU = torch.device("cpu")


def forgetful() -> nn.Module:
    """A student that draws while it learns."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 10))


QUICK = {
    **{"train.max_steps": 20, "train.min_steps": 20, "run.workers": 1},
    **{"synthesis.epochs": 4, "synthesis.generator_steps": 3, "synthesis.batch_size": 32, "synthesis.width": 8},
    **{"synthesis.latent": 16, "synthesis.student_steps": 0, "generator.family": "none"},
}


def run(digits: Dataset, method: str, folder: Path, student: str, **more: object) -> tuple[Outcome, Journal]:
    sites = [Site(k, digits.subset(range(300 * k, 300 * k + 300)), ("cnn:8", "mlp:32:1")[k]) for k in range(2)]
    config = Config().with_values({**METHODS[method].defaults, **QUICK, "models.student": student, **more})
    journal = Journal(folder)
    with LocalFederation(sites, config, CPU, journal) as federation:
        return METHODS[method].run(federation, config, CPU, journal), journal


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("method", ["dense", "coboosting"])
def test_a_killed_server_goes_on_in_the_epoch_in_which_it_was(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, own: bool
) -> None:
    student = trust(forgetful) if own else "cnn:8"
    with monkeypatch.context() as patch:  # in one part, so that nothing is read back
        patch.setattr("mosaic_fl.methods.one_shot.PARTS", 1)
        whole, journal = run(digits, method, tmp_path / "whole", student)
    epochs: list[int] = []

    def killed(*given: Any) -> Any:
        epochs.append(given[2].round)
        if epochs == [0, 1, 2]:
            raise KeyboardInterrupt
        return fit_batch(*given)

    monkeypatch.setattr(f"mosaic_fl.methods.{method}.fit_batch", killed)
    with pytest.raises(KeyboardInterrupt):
        run(digits, method, tmp_path / "killed", student)
    resumed, again = run(digits, method, tmp_path / "killed", student)
    assert epochs == [0, 1, 2, 2, 3]
    assert whole.model is not None
    assert resumed.model is not None
    assert all(torch.equal(whole.model.state[name], tensor) for name, tensor in resumed.model.state.items())
    assert again.done[method].info == journal.done[method].info
    assert again.done[method].metrics == journal.done[method].metrics


@pytest.mark.parametrize("method", ["dense", "coboosting"])
def test_the_student_can_have_other_batches_than_the_generator(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Pools of 32 and 64 images, 16 a step: 2 and 4 steps; and 2 of Co-Boosting's weights, on the first 32."""
    made, seen, weighed = [], [], []

    def generated(*given: Any) -> Any:
        made.append(len(given[3][0]))
        return fit_batch(*given)

    def counted(*given: Any) -> float:
        seen.append(len(given[2]))
        return learn(*given)

    def reweighed(*given: Any) -> Any:
        weighed.append(len(given[1]))
        return reweigh(*given)

    monkeypatch.setattr(f"mosaic_fl.methods.{method}.fit_batch", generated)
    monkeypatch.setattr(f"mosaic_fl.methods.{method}.learn", counted)
    monkeypatch.setattr("mosaic_fl.methods.coboosting.reweigh", reweighed)
    run(digits, method, tmp_path, "cnn:8", **{"synthesis.epochs": 2, "synthesis.pool_batch_size": 16})
    assert made == [32, 32]
    assert seen == [16] * 6
    assert weighed == ([16] * 2 if method == "coboosting" else [])


def test_a_batch_of_a_single_image_is_refused() -> None:
    with pytest.raises(UsageError, match="pool_batch_size is 1: give it 2 or more, or 0"):
        Config().with_values({"synthesis.pool_batch_size": 1})


def test_parts_hold_every_epoch_once() -> None:
    mnist = image_schema((1, 28, 28), tuple("0123456789"))
    for epochs in (1, 7, PARTS, 50, 200):
        parts = parts_of(SynthesisConfig(epochs=epochs), mnist, clients=5)
        assert [epoch for part in parts for epoch in part] == list(range(epochs))
        assert len(parts) == min(epochs, PARTS)
        assert min(map(len, parts)) > 0


def test_a_pool_that_is_too_large_to_write_is_not_written() -> None:
    """10 epochs of 128 images of 3·H·H bytes and 8 a client: a gibibyte at H = 528, or 264 and 78,700 clients."""
    for side, clients, count in ((528, 1, 10), (529, 1, 1), (264, 78_000, 10), (264, 79_000, 1)):
        parts = parts_of(SynthesisConfig(epochs=10), image_schema((3, side, side), tuple("01")), clients)
        assert len(parts) == count
