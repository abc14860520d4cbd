"""The training loop: steps down a loss, and hooks after each, with numbers worked out by hand."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

from mosaic_fl.errors import MosaicError
from mosaic_fl.training.hooks import BestWeights, average, every, log_generator, progress, schedule
from mosaic_fl.training.loop import StepTaken, descend
from mosaic_fl.training.monitor import Recorder
from mosaic_fl.training.optimisers import averaged
from mosaic_fl.training.steps import PlainStep


def parabola() -> tuple[nn.Linear, PlainStep]:
    """w = 1 and the loss w²/2, whose slope is w: a step of rate 0.5 halves w."""
    line = nn.Linear(1, 1, bias=False)
    nn.init.ones_(line.weight)
    return line, PlainStep(SGD(line.parameters(), lr=0.5))


def test_each_step_goes_down_the_loss_of_its_batch() -> None:
    line, step = parabola()
    seen: list[int] = []

    def loss(number: int) -> Tensor:
        seen.append(number)
        return line.weight.square().sum() / 2

    assert descend(loss, step, 3) == 3
    assert (seen, line.weight.item()) == ([0, 1, 2], 0.125)
    assert descend(loss, step, 0) == 0


def test_a_hook_ends_training_after_all_hooks_of_its_step() -> None:
    line, step = parabola()
    monitor = Recorder(listen=lambda *news: told.append(news))
    told: list[tuple[str, int, int, int]] = []
    taken = descend(lambda _: line.weight.square().sum(), step, 10, [lambda done: done.step == 1, progress(monitor)])
    assert taken == 2
    assert told == [("", -1, 1, 10), ("", -1, 2, 10)]


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({}, [2, 5, 7]),  # after each third step, and the last of eight
        ({"last": False}, [2, 5]),
        ({"from_first": True}, [0, 3, 6, 7]),
        ({"from_first": True, "last": False}, [0, 3, 6]),
    ],
)
def test_every_looks_at_intervals(options: dict[str, bool], steps: list[int]) -> None:
    line, step = parabola()
    looked: list[int] = []

    def look(taken: StepTaken) -> bool:
        looked.append(taken.step)
        return False

    descend(lambda _: line.weight.sum(), step, 8, [every(3, look, **options)])
    assert looked == steps


def test_the_rate_moves_after_each_step() -> None:
    line, step = parabola()
    halves = LambdaLR(step.optimiser, lambda number: 0.5**number)
    descend(lambda _: line.weight.sum(), step, 3, [schedule(halves)])
    assert line.weight.item() == pytest.approx(1 - 0.5 * (1 + 0.5 + 0.25))


def test_the_average_takes_each_step() -> None:
    """Update n has decay min(0.9, (1 + n) / (10 + n)): the 0th copies, the next keeps 2/11."""
    line, step = parabola()
    smooth = averaged(line, 0.9)
    descend(lambda _: line.weight.square().sum() / 2, step, 2, [average(smooth, line)])
    assert smooth.module.weight.item() == pytest.approx(0.5 * 2 / 11 + 0.25 * 9 / 11)


def test_best_weights_are_those_of_the_least_loss() -> None:
    line, _ = parabola()
    best = BestWeights(line, patience=2)
    offers = [(3.0, 5.0), (1.0, 7.0), (2.0, 9.0), (math.nan, 11.0)]  # validation loss, weight
    ends = []
    for loss, weight in offers:
        nn.init.constant_(line.weight, weight)
        ends.append(best.offer(loss))
    assert ends == [False, False, False, True]  # the second offer in a row that is no better
    best.load_into(line)
    assert (best.loss, line.weight.item()) == (1.0, 7.0)


def test_without_an_offer_or_patience() -> None:
    line, _ = parabola()
    patient = BestWeights(line)
    patient.load_into(line)
    assert line.weight.item() == 1.0
    assert not any(patient.offer(float(loss)) for loss in range(100))


def test_a_loss_that_is_not_finite_is_an_error_that_says_the_way_out() -> None:
    line, step = parabola()
    hook = log_generator(Recorder(), 0.3)
    with pytest.raises(MosaicError, match=r"generator's loss is inf after step 0: .*lower generator\.lr \(now 0\.3\)"):
        descend(lambda _: line.weight.sum() * math.inf, step, 1, [hook])


def test_a_long_gradient_is_cut() -> None:
    """Slope (30, 40) of length 50, cut to 10: a step of rate 0.1 down (6, 8)."""
    for longest, moved in ((10.0, [-0.6, -0.8]), (math.inf, [-3.0, -4.0]), (60.0, [-3.0, -4.0])):
        point = torch.zeros(2, requires_grad=True)
        PlainStep(SGD([point], 0.1), longest)((point * torch.tensor([30.0, 40.0])).sum())
        assert point.tolist() == pytest.approx(moved, rel=1e-5)
