"""The early stop of a generator: which samples it looks at, when it ends by hand, and that else nothing changes."""

import pytest
import torch
from torch import nn

from mosaic_fl.config import Config, GeneratorConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.generators import stopping
from mosaic_fl.generators.cvae import train_vae
from mosaic_fl.generators.flow import train_flow
from mosaic_fl.generators.stopping import EarlyStop
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.training.loop import StepTaken, descend
from mosaic_fl.training.monitor import Recorder

CPU = torch.device("cpu")


def test_it_looks_at_20_samples_at_least_and_at_128_at_most(digits: Dataset) -> None:
    model = nn.Linear(1, 1)
    assert EarlyStop(model, None, 10).samples is None
    assert EarlyStop(model, digits.subset(range(19)), 10).samples is None
    assert EarlyStop(model, digits.subset(range(20)), 0).samples is None
    few = EarlyStop(model, digits.subset(range(20)), 10).samples
    assert few is not None
    assert len(few) == 20
    # Every third of 300, so the last ones, too: files may be in the order of classes.
    many = EarlyStop(model, digits.subset(range(300)), 10).samples
    assert many is not None
    assert torch.equal(many.labels, digits.labels[0:300:3])


@pytest.mark.parametrize(
    ("losses", "steps", "weight"),
    [
        ((5.0, 3.0, 4.0, 3.5, 1.0), 8, 4.0),  # the best of the checks after 2, 4, 6 and 8 steps is that after 4
        ((5.0, 4.0, 4.5, 3.0, 3.5), 10, 10.0),  # never two checks without a better one: the last weights
    ],
)
def test_the_end_by_hand(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch, losses: tuple[float, ...], steps: int, weight: float
) -> None:
    monkeypatch.setattr(stopping, "CHECK_EVERY", 2)
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)

    def step(_: torch.Tensor) -> None:
        model.weight.data += 1

    recorder = Recorder()
    stop = EarlyStop(model, digits.subset(range(20)), 2)
    checks = iter(losses)
    hook = stop.hook(lambda: torch.tensor(next(checks)), recorder)
    assert descend(lambda _: torch.zeros(()), step, 10, [hook]) == steps
    stop.end()
    assert model.weight.item() == weight
    figures = [row["generator_validation_loss"] for row in recorder.metrics]
    assert figures == list(losses[: steps // 2])


def test_the_last_planned_step_is_no_check_of_its_own() -> None:
    hook = EarlyStop(nn.Linear(1, 1), None, 1).hook(lambda: pytest.fail("no step of a check"), Recorder())
    assert not hook(StepTaken(29, 30, torch.zeros(())))


def test_a_vae_that_learns_by_heart_stops_and_one_that_does_not_is_the_same_as_ever(digits: Dataset) -> None:
    data, others = digits.subset(range(15)), digits.subset(range(100, 140))

    def train(patience: int, steps: int, validation: Dataset | None) -> tuple[dict[str, torch.Tensor], int]:
        recorder = Recorder()
        config = GeneratorConfig(steps=steps, width=8, latent=4, patience=patience, lr=0.01)
        decoder = train_vae(data, None, config, Stream(0, "g"), CPU, recorder, validation)
        return decoder.state_dict(), sum("generator_validation_loss" in row for row in recorder.metrics)

    _, checks = train(2, 2000, others)
    assert 3 <= checks < 2000 // stopping.CHECK_EVERY
    plain, none = train(0, 100, others)
    watched, two = train(2, 100, others)
    assert (none, two) == (0, 2)
    assert all(torch.equal(plain[name], watched[name]) for name in plain)


def test_a_flow_stops_by_its_averaged_weights_and_the_held_samples_change_nothing_else(digits: Dataset) -> None:
    """Of 15 digits it learns these alone: its loss on others rises, whatever the batches do."""
    data, others = digits.subset(range(15)), digits.subset(range(100, 140))

    def train(patience: int, steps: int, validation: Dataset | None) -> tuple[dict[str, torch.Tensor], list[float]]:
        recorder = Recorder()
        config = GeneratorConfig(family="flow", steps=steps, width=8, patience=patience, lr=0.01)
        flow = train_flow(data, None, config, Stream(0, "g"), CPU, recorder, validation)
        looks = [row["generator_validation_loss"] for row in recorder.metrics if "generator_validation_loss" in row]
        return flow.state_dict(), looks

    state, looks = train(2, 2000, others)
    assert 3 <= len(looks) < 2000 // stopping.CHECK_EVERY
    assert looks.index(min(looks)) == len(looks) - 3  # two checks after its best one
    plain, none = train(0, 100, others)
    watched, two = train(2, 100, others)
    assert (len(none), len(two)) == (0, 2)
    assert all(torch.equal(plain[name], watched[name]) for name in plain)
    assert not all(torch.equal(plain[name], state[name]) for name in plain)


def test_no_generator_stops_early_unless_the_settings_say_so() -> None:
    assert Config().generator.patience == 0
    assert Config().with_values({"generator.patience": 10}).generator.patience == 10
