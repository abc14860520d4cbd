import itertools

import pytest
import torch
from torch import nn

from mosaic_fl.training.batches import batches
from mosaic_fl.training.optimisers import averaged, cosine


def take(n: int, size: int, count: int) -> list[torch.Tensor]:
    return list(itertools.islice(batches(n, size, torch.Generator().manual_seed(0)), count))


def test_every_sample_comes_once_a_pass_and_no_batch_is_short() -> None:
    drawn = take(10, 4, 5)  # two passes
    assert [len(b) for b in drawn] == [4] * 5
    flat = torch.cat(drawn)
    assert sorted(flat[:10].tolist()) == list(range(10)) == sorted(flat[10:].tolist())
    assert flat[:10].tolist() != flat[10:].tolist()


def test_fewer_samples_than_a_batch() -> None:
    assert [sorted(b.tolist()) for b in take(3, 64, 2)] == [[0, 1, 2], [0, 1, 2]]


def test_a_single_sample_comes_twice_for_batch_norm() -> None:
    assert [b.tolist() for b in take(1, 64, 2)] == [[0, 0], [0, 0]]


def test_cosine_rises_then_falls_to_zero() -> None:
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = cosine(optimiser, 100)  # warm-up of 5 steps
    rates = []
    for _ in range(100):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    assert [round(r, 6) for r in rates[:5]] == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert rates[5] == 1.0
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] < 0.001
    assert optimiser.param_groups[0]["lr"] == 0


def test_average_by_hand() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    average = averaged(model, 0.9)
    average.update_parameters(model)  # the first update copies
    nn.init.constant_(model.weight, 2.0)
    average.update_parameters(model)  # decay (1 + 1)/(10 + 1)
    assert average.module.weight.item() == pytest.approx(2 / 11 * 1 + 9 / 11 * 2)
    for _ in range(200):
        average.update_parameters(model)
    nn.init.constant_(model.weight, 3.0)
    before = average.module.weight.item()
    average.update_parameters(model)  # decay 0.9, which is less than 202/211
    assert average.module.weight.item() == pytest.approx(0.9 * before + 0.1 * 3)


def test_the_average_has_batch_norm_statistics_too() -> None:
    model = nn.BatchNorm1d(2)
    average = averaged(model, 0.5)
    model(torch.tensor([[1.0, 2.0], [3.0, 6.0]]))
    average.update_parameters(model)
    assert torch.equal(average.module.running_mean, model.running_mean)
    assert int(average.module.num_batches_tracked) == 1
