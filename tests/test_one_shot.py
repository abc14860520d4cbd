"""DENSE and Co-Boosting: a server that is killed between two epochs loses none of those that it wrote down."""

from pathlib import Path
from typing import Any

import pytest
import torch

from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config, SynthesisConfig
from mosaic_fl.data.dataset import ImageData
from mosaic_fl.data.schema import Schema
from mosaic_fl.engines.local import LocalFederation
from mosaic_fl.journal import Journal
from mosaic_fl.methods import METHODS
from mosaic_fl.methods.one_shot import PARTS, parts_of
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.server.synthesis.generator import fit_batch

CPU = torch.device("cpu")
QUICK = {
    **{"train.max_steps": 20, "train.min_steps": 20, "run.workers": 1, "models.student": "cnn:8"},
    **{"synthesis.epochs": 4, "synthesis.generator_steps": 3, "synthesis.batch_size": 32, "synthesis.width": 8},
    **{"synthesis.latent": 16, "synthesis.student_steps": 0, "generator.family": "none"},
}


def run(digits: ImageData, method: str, folder: Path) -> tuple[Outcome, Journal]:
    sites = [Site(k, digits.subset(range(300 * k, 300 * k + 300)), ("cnn:8", "mlp:32:1")[k]) for k in range(2)]
    config, journal = Config().with_values({**METHODS[method].defaults, **QUICK}), Journal(folder)
    with LocalFederation(sites, config, CPU, journal) as federation:
        return METHODS[method].run(federation, config, CPU, journal), journal


@pytest.mark.parametrize("method", ["dense", "coboosting"])
def test_a_killed_server_goes_on_in_the_epoch_in_which_it_was(
    digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    whole, journal = run(digits, method, tmp_path / "whole")
    epochs: list[int] = []

    def killed(*given: Any) -> Any:
        epochs.append(given[2].round)
        if epochs == [0, 1, 2]:
            raise KeyboardInterrupt
        return fit_batch(*given)

    monkeypatch.setattr(f"mosaic_fl.methods.{method}.fit_batch", killed)
    with pytest.raises(KeyboardInterrupt):
        run(digits, method, tmp_path / "killed")
    resumed, again = run(digits, method, tmp_path / "killed")
    assert epochs == [0, 1, 2, 2, 3]
    assert whole.model is not None
    assert resumed.model is not None
    assert all(torch.equal(whole.model.state[name], tensor) for name, tensor in resumed.model.state.items())
    assert again.done[method].info == journal.done[method].info
    assert again.done[method].metrics == journal.done[method].metrics


def test_parts_hold_every_epoch_once() -> None:
    mnist = Schema((1, 28, 28), tuple("0123456789"))
    for epochs in (1, 7, PARTS, 50, 200):
        parts = parts_of(SynthesisConfig(epochs=epochs), mnist)
        assert [epoch for part in parts for epoch in part] == list(range(epochs))
        assert len(parts) == min(epochs, PARTS)
        assert min(map(len, parts)) > 0


def test_a_pool_that_is_too_large_to_write_is_not_written() -> None:
    """10 epochs of 128 images of 3·H·H bytes: a gibibyte at H = 528, above it at 529."""
    for side, count in ((528, 10), (529, 1)):
        assert len(parts_of(SynthesisConfig(epochs=10), Schema((3, side, side), tuple("01")))) == count
