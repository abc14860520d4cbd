"""GAN loss terms against numbers worked out by hand."""

import math

import pytest
import torch
from torch import nn

from mosaic_fl.generators.losses import (
    BatchStatistics,
    adversarial_discriminator,
    adversarial_generator,
    diversity,
    entropy,
)

LN2 = math.log(2)


def test_adversarial_terms_by_hand() -> None:
    undecided = torch.zeros(4)
    assert adversarial_generator(undecided).item() == pytest.approx(LN2)
    assert adversarial_discriminator(undecided, undecided).item() == pytest.approx(2 * LN2)
    assert adversarial_generator(torch.tensor([math.log(3)])).item() == pytest.approx(-math.log(3 / 4))
    assert adversarial_discriminator(torch.tensor([50.0]), torch.tensor([-50.0])).item() == pytest.approx(0)


def test_entropy_by_hand() -> None:
    assert entropy(torch.zeros(3, 5)).item() == pytest.approx(math.log(5))
    assert entropy(torch.tensor([[100.0, 0.0]])).item() == pytest.approx(0, abs=1e-6)
    mixed = torch.tensor([[0.75, 0.25]]).log()
    assert entropy(mixed).item() == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))


def test_diversity_by_hand() -> None:
    covered = torch.tensor([[100.0, 0.0], [0.0, 100.0]])
    assert diversity(covered).item() == pytest.approx(-LN2)
    assert diversity(covered[:1]).item() == pytest.approx(0, abs=1e-6)
    # E[y] = (0.5·1 + 0.5·0.5, 0.25) = (0.75, 0.25)
    half = torch.tensor([[100.0, 0.0], [0.0, 0.0]])
    assert diversity(half).item() == pytest.approx(0.75 * math.log(0.75) + 0.25 * math.log(0.25), abs=1e-6)


def test_inversion_by_hand() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2)).eval()
    model[0].running_mean.copy_(torch.tensor([1.0, 0.0]))
    model[0].running_var.copy_(torch.tensor([1.0, 2.0]))
    batch = torch.tensor([[0.0, 1.0], [4.0, 1.0]], requires_grad=True)  # mean (2, 1), biased variance (4, 0)
    with BatchStatistics(model) as statistics:
        model(batch)
        loss = statistics.loss()
    assert loss.item() == pytest.approx(((1 + 1) + (9 + 4)) / 2)
    loss.backward()
    assert batch.grad is not None
    assert batch.grad.abs().sum() > 0


def test_inversion_is_0_where_the_statistics_match_and_sums_over_layers() -> None:
    model = nn.Sequential(nn.BatchNorm2d(1), nn.BatchNorm2d(1)).eval()  # both remember mean 0, variance 1
    images = torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1)
    with BatchStatistics(model) as statistics:
        model(images)
        assert statistics.loss().item() == pytest.approx(0, abs=1e-8)
        model(images + 1)  # means 1 and about 1
        assert statistics.loss().item() == pytest.approx(2, abs=1e-4)


def test_one_sample_a_model_without_batch_norm_and_hooks_that_go() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3)).eval()
    with BatchStatistics(model) as statistics:
        model(torch.zeros(1, 3))
        assert statistics.loss().item() == pytest.approx(1)  # mean as remembered, variance 0 instead of 1
    assert not model[0]._forward_pre_hooks
    with BatchStatistics(nn.Linear(2, 2)) as none:
        assert none.loss().item() == 0


@pytest.mark.parametrize(
    ("shape", "order"),
    [
        ((5, 2), torch.contiguous_format),
        ((3, 2, 4, 3), torch.contiguous_format),
        ((3, 2, 4, 3), torch.channels_last),
    ],
    ids=["features", "maps", "channels last"],
)
def test_the_gradient_is_that_of_mean_and_variance(shape: tuple[int, ...], order: torch.memory_format) -> None:
    norm = nn.BatchNorm1d(2) if len(shape) == 2 else nn.BatchNorm2d(2)
    statistics = BatchStatistics(nn.Sequential(norm.double().eval()))

    def apart(images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with statistics:
            norm(images)
            return statistics.distances[norm]

    images = torch.randn(shape, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    images = images.to(memory_format=order)
    over = [d for d in range(images.ndim) if d != 1]
    mean, variance = apart(images)  # the batch norm remembers mean 0, variance 1
    assert torch.allclose(mean, images.mean(over))
    assert torch.allclose(variance, images.var(over, correction=0) - 1)
    assert torch.autograd.gradcheck(apart, images.requires_grad_())


def test_layers_without_a_memory_count_for_nothing() -> None:
    forgetful = nn.Sequential(nn.BatchNorm1d(2, track_running_stats=False)).eval()
    with BatchStatistics(forgetful) as statistics:
        forgetful(torch.randn(4, 2))
        assert statistics.layers == []
        assert statistics.loss().item() == 0


def test_inversion_does_not_grow_with_width() -> None:
    for width in (1, 64):
        model = nn.Sequential(nn.BatchNorm1d(width)).eval()
        with BatchStatistics(model) as statistics:
            model(torch.full((3, width), 2.0))  # mean 2 instead of 0, variance 0 instead of 1
            assert statistics.loss().item() == pytest.approx(4 + 1)
