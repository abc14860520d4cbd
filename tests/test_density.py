"""The mixture of Gaussians a class, by hand."""

import math

import pytest
import torch

from mosaic_fl.errors import UsageError
from mosaic_fl.generators.density import COMPONENTS, ClassMixture


def test_one_gaussian_by_hand() -> None:
    density = ClassMixture(3, 1)
    mean = torch.tensor([[2.0], [4.0]] * 15 + [[7.0]] * 10)
    density.fit(mean, torch.zeros_like(mean), torch.tensor([0] * 30 + [1] * 10), seed=0)
    # Class 0: 30 samples, mean 3, variance 1 + 1; 10 samples' worth of N(0, 1): 3/4 of each moment.
    assert density.location[0, 0].item() == pytest.approx(0.75 * 3)
    assert density.scale[0, 0].item() == pytest.approx(math.sqrt(0.75 * 2 + 0.25))
    # Class 1: 10 samples at 7 with variance 0 + 1: half of each moment. Class 2: none.
    assert (density.location[1, 0].item(), density.scale[1, 0].item()) == pytest.approx((3.5, 1.0))
    assert (density.location[2, 0].item(), density.scale[2, 0].item()) == (0.0, 1.0)
    assert density.share[:, 0].tolist() == [1, 1, 1]


def test_samples_come_from_the_class_gaussian() -> None:
    density = ClassMixture(1, 2)
    z, labels = torch.randn(5, 2), torch.zeros(5, dtype=torch.int64)
    density.location[0, 0], density.scale[0, 0] = torch.tensor([1.0, 2.0]), torch.tensor([[3.0, 0.0], [1.0, 0.5]])
    placed = torch.stack([1 + 3 * z[:, 0], 2 + z[:, 0] + 0.5 * z[:, 1]], 1)
    assert torch.allclose(density(z, labels), placed, atol=1e-6)


def test_two_heaps_become_two_components() -> None:
    """75 samples at −5 and 25 at 5, each with variance 1/4: two components of fifty on average."""
    density, rng = ClassMixture(2, 1), torch.Generator().manual_seed(0)
    mean = torch.tensor([[-5.0]] * 75 + [[5.0]] * 25)
    density.fit(mean, torch.full_like(mean, math.log(0.25)), torch.ones(100, dtype=torch.int64), seed=1)
    assert density.share[1].tolist() == pytest.approx([0.75, 0.25, *[0.0] * (COMPONENTS - 2)], abs=1e-4)
    # The class as a whole: mean −2.5, variance 18.75 + 0.25, with 10 samples' worth of N(0, 1).
    whole_mean, whole_variance = 100 / 110 * -2.5, 100 / 110 * 19 + 10 / 110
    assert density.location[1, 0].item() == pytest.approx(75 / 85 * -5 + 10 / 85 * whole_mean, abs=1e-3)
    assert density.scale[1, 1].item() ** 2 == pytest.approx(25 / 35 * 0.25 + 10 / 35 * whole_variance, abs=1e-3)
    placed = density(torch.randn(20_000, 1, generator=rng), torch.ones(20_000, dtype=torch.int64)).flatten()
    assert float((placed < 0).float().mean()) == pytest.approx(0.75, abs=0.05)


def test_within_a_component_the_first_coordinate_stays_standard_normal() -> None:
    density, rng = ClassMixture(1, 2), torch.Generator().manual_seed(0)
    density.share[0, :3] = torch.tensor([0.5, 0.3, 0.2])
    density.location[0, 1], density.location[0, 2] = torch.tensor([100.0, 0.0]), torch.tensor([200.0, 0.0])
    placed = density(torch.randn(50_000, 2, generator=rng), torch.zeros(50_000, dtype=torch.int64))
    for j, share in enumerate((0.5, 0.3, 0.2)):
        mine = placed[(placed[:, 0] - 100 * j).abs() < 20] - torch.tensor([100.0 * j, 0])
        assert len(mine) / 50_000 == pytest.approx(share, abs=0.01)
        assert mine.mean(0).tolist() == pytest.approx([0, 0], abs=0.05)
        assert torch.allclose(torch.cov(mine.T), torch.eye(2), atol=0.05)


def test_extreme_latents_stay_finite() -> None:
    density = ClassMixture(1, 2)
    density.share[0, :2] = torch.tensor([0.7, 0.3])
    z = torch.tensor([[-40.0, 0.0], [40.0, 0.0], [0.0, 0.0]])
    assert density(z, torch.zeros(3, dtype=torch.int64)).isfinite().all()


def test_a_component_of_few_samples_is_dropped_and_its_samples_stay() -> None:
    """Four samples far away would be a component of their own: a portrait of them."""
    density, rng = ClassMixture(1, 2), torch.Generator().manual_seed(0)
    mean = torch.cat([torch.randn(196, 2, generator=rng), torch.full((4, 2), 60.0)])
    density.fit(mean, torch.full_like(mean, -2.0), torch.zeros(200, dtype=torch.int64), seed=0)
    assert float(density.share[0].sum()) == pytest.approx(1, abs=1e-5)
    used = density.share[0] > 0
    assert float(density.share[0][used].min()) * 200 >= 9.9
    assert not bool((density.location[0][used] > 50).any())


@pytest.mark.parametrize(
    ("buffer", "value", "message"),
    [
        ("share", 0.4, "sum to"),
        ("share", -1.0, "sum to"),
        ("location", 1e6, "farther"),
        ("scale", -3e38, "farther"),
    ],
)
def test_a_received_density_must_be_one(buffer: str, value: float, message: str) -> None:
    density = ClassMixture(3, 2)
    density.check()
    getattr(density, buffer)[2, 0] = value
    with pytest.raises(UsageError, match=message):
        density.check()
