"""DP-SGD: gradients of single samples are right, none counts more than the clip, and noise is of the stated size."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

pytest.importorskip("opacus", reason="the privacy extra is not installed")

import mosaic_fl
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.experts.private_training import check_private_network, unfit_network
from mosaic_fl.generators.base import GeneratorSpec
from mosaic_fl.generators.cvae import evidence_loss
from mosaic_fl.generators.private_vae import Autoencoder
from mosaic_fl.models import build, trust
from mosaic_fl.numerics.accountant import Release
from mosaic_fl.training.private import GRID, MARGIN, Descent, PrivateStep, drawn, summed
from mosaic_fl.training.single_samples import Followed


def source(seed: int = 0) -> Callable[[int], bytes]:
    return np.random.default_rng(seed).bytes


def images(side: int = 8, channels: int = 1) -> Schema:
    shape = (20, side, side, channels) if channels > 1 else (20, side, side)
    return mosaic_fl.from_arrays(np.zeros(shape, np.uint8), np.arange(20) % 4).schema


def test_a_poisson_sample_has_each_index_with_its_rate() -> None:
    """Of 400,000 chances of 0.3, √(400000·0.3·0.7) = 290 is the standard deviation of the number drawn."""
    draws = [drawn(4000, 0.3, source(seed)) for seed in range(100)]
    assert abs(sum(map(len, draws)) - 120_000) < 5 * 290
    counts = torch.bincount(torch.cat(draws), minlength=4000)
    assert 5 < int(counts.min()) < 30 < int(counts.max()) < 60
    assert all(bool((draw.diff() > 0).all()) for draw in draws)
    assert len(drawn(0, 0.5)) == 0


@pytest.mark.parametrize(
    ("name", "side", "channels"),
    [
        ("cnn:4:2:2", 8, 1),
        ("cnn:8:3:4", 28, 3),
        ("resnet8:4:2", 8, 3),
        ("resnet18:4:2", 8, 1),
        ("mlp:16:2:4", 8, 1),
        ("lenet", 28, 1),
        ("vit:16:1", 8, 1),
        ("linear", 8, 1),
    ],
)
def test_gradients_of_single_samples_are_those_that_each_has_alone(name: str, side: int, channels: int) -> None:
    """Also with channels last, and on maps of one pixel, where Opacus' own rule reads other samples' numbers."""
    schema = images(side, channels)
    torch.manual_seed(0)
    model = build(name, schema).train()
    x = torch.randn(3, channels, side, side).to(memory_format=torch.channels_last)
    y = torch.tensor([0, 1, 3])
    alone = list[list[Tensor]]()
    for i in range(3):
        model.zero_grad()
        F.cross_entropy(model(x[i : i + 1]), y[i : i + 1]).backward()
        alone.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    model.zero_grad(set_to_none=True)
    followed = Followed(model)
    together = followed.gradients(F.cross_entropy(model(x), y, reduction="sum"))
    followed.close()
    for i in range(3):
        for mine, expected in zip(together, alone[i], strict=True):
            torch.testing.assert_close(mine[i], expected, rtol=2e-3, atol=1e-5)
    assert not any("_gs" in name or "grad_sample" in name for p in model.parameters() for name in vars(p))


def test_the_autoencoder_s_single_gradients_add_up() -> None:
    schema = images()
    torch.manual_seed(0)
    network = Autoencoder(GeneratorSpec("cvae", 4, 4), schema).train()
    x = torch.rand(5, 1, 8, 8) * 2 - 1
    y = torch.arange(5) % 4
    noise = torch.randn(5, 4)

    def loss() -> Tensor:
        logits, mean, log_variance = network(x, y, noise)
        return evidence_loss(logits, x, mean, log_variance, 0.5) * 5

    loss().backward()
    whole = [p.grad.clone() for p in network.parameters() if p.grad is not None]
    network.zero_grad(set_to_none=True)
    followed = Followed(network)
    for one, all_of_them in zip(followed.gradients(loss()), whole, strict=True):
        torch.testing.assert_close(one.sum(0), all_of_them, rtol=1e-3, atol=1e-4)
    followed.close()


def moved(vectors: Tensor, noise: float, clip: float = 1.0, seed: int = 0) -> Tensor:
    """How far one step of rate 1 down Σ w·x moves the weights (d,) from 0: the gradients are the vectors (n, d)."""
    network = nn.Linear(vectors.shape[1], 1, bias=False).train()
    nn.init.zeros_(network.weight)
    descent = Descent(Release(noise), clip, 1.0, source(seed))
    with PrivateStep(network, torch.optim.SGD(network.parameters(), lr=1.0), descent) as step:
        step(summed(lambda index: network(vectors[index]).sum(), step, torch.arange(len(vectors))))
    return -network.weight.detach().flatten()


def test_long_gradients_are_shortened_and_short_ones_stay() -> None:
    """(3, 4) has the length 5 and becomes (0.6, 0.8); (0.3, 0.4) stays. Both lose a ten-thousandth at most."""
    torch.testing.assert_close(moved(torch.tensor([[3.0, 4.0]]), 1e-12), torch.tensor([0.6, 0.8]), rtol=0, atol=2e-4)
    torch.testing.assert_close(moved(torch.tensor([[0.3, 0.4]]), 1e-12), torch.tensor([0.3, 0.4]), rtol=0, atol=2e-4)
    torch.testing.assert_close(
        moved(torch.tensor([[3.0, 4.0]]), 1e-12, 2.5), torch.tensor([1.5, 2.0]), rtol=0, atol=4e-4
    )


def test_no_sample_changes_the_sum_by_more_than_the_clip_whatever_it_holds() -> None:
    """The same noise on both sums: what is left is one sample, and a length of 1 at most."""
    rng = torch.Generator().manual_seed(0)
    others = torch.randn(40, 6, generator=rng)
    bad = [torch.full((6,), value) for value in (0.0, 1e-30, 1e30, 3e38, math.inf, -math.inf, math.nan)]
    for sample in [*bad, *(torch.randn(6, generator=rng) * 10.0**k for k in range(-6, 7))]:
        without = moved(others, 0.7)
        more = moved(torch.cat([others, sample[None]]), 0.7)
        assert bool(more.isfinite().all())
        assert float((more - without).double().norm()) <= 1 + 1e-6


def test_noise_has_the_stated_size_and_sums_are_whole_numbers() -> None:
    vectors = torch.zeros(3, 20_000)
    noise = moved(vectors, 2.5)
    assert float(noise.std()) == pytest.approx(2.5, rel=0.02)
    assert float(noise.mean()) == pytest.approx(0, abs=5 * 2.5 / math.sqrt(20_000))
    parts = noise.double() * GRID
    assert torch.equal(parts, parts.round())
    assert MARGIN * GRID > 1


def test_noise_of_a_real_step_is_from_the_system_and_new_each_time() -> None:
    network = nn.Linear(4, 2).train()
    states = list[Tensor]()
    for _ in range(2):
        nn.init.zeros_(network.weight)
        step_of = torch.optim.SGD(network.parameters(), lr=1.0)
        with PrivateStep(network, step_of, Descent(Release(1.0, 0.5, 1), 1.0, 10.0)) as step:
            step(summed(lambda index: network(torch.ones(len(index), 4)).sum(), step, torch.arange(0)))
        states.append(network.weight.detach().clone())
    assert not torch.equal(*states)  # a step without a sample, too, has noise


class SharedWeights(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 64)
        self.last = nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.linear(x.flatten(1), self.first.weight)
        logits: Tensor = self.last(self.first(hidden.relu()))
        return logits


class CentredBatch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        logits: Tensor = self.last(flat - flat.mean(0))
        return logits


class Counted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(64))
        self.last = nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        self.seen += x.flatten(1).detach().sum(0)
        logits: Tensor = self.last(x.flatten(1))
        return logits


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 4)), "1 is a batch norm"),
        (lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64, affine=False), nn.Linear(64, 4)), "1 is a batch norm"),
        (lambda: nn.Sequential(nn.InstanceNorm2d(1, track_running_stats=True), nn.Flatten(), nn.Linear(64, 4)), "stat"),
        (SharedWeights, "do not add up"),
        (CentredBatch, "depends on the other samples"),
        (Counted, "keeps statistics"),
    ],
)  # fmt: skip
def test_a_module_that_cannot_learn_privately_is_told_before_work(make: Callable[[], nn.Module], words: str) -> None:
    import re

    assert re.search(words, unfit_network(make().train(), images()))


def test_a_user_s_own_module_is_told_by_its_name() -> None:
    def own() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))

    name = trust(own)
    with pytest.raises(UsageError, match="own.* cannot learn with differential privacy: its layer module.2 is a batch"):
        check_private_network(name, images())

    def grouped() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.GroupNorm(2, 8), nn.Dropout(0.2), nn.Linear(8, 4))

    check_private_network(trust(grouped), images())
    check_private_network("cnn:4:2:2", images())
