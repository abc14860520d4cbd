"""The mixture of Gaussians a class, by hand."""

import math

import pytest
import torch
from torch import Tensor

from densities import forward_of_0_7, written_by_0_7
from mosaic_fl.errors import UsageError
from mosaic_fl.generators.density import COMPONENTS, ClassMixture, compact, most_components


def mixture(shares: list[float], locations: list[list[float]], scale: Tensor | None = None) -> ClassMixture:
    """Of one class."""
    latent = len(locations[0])
    density = ClassMixture(1, latent)
    scales = (torch.eye(latent) if scale is None else scale).repeat(len(shares), 1, 1)
    density.assign({0: (torch.tensor(shares), torch.tensor(locations), scales)})
    return density


def fitted() -> ClassMixture:
    """Of five classes; 1 and 4 have no samples, 2 has several components."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.tensor([0] * 30 + [2] * 400 + [3] * 120)
    mean = torch.randn(len(labels), 3, generator=rng) + 4 * torch.randint(3, (len(labels), 1), generator=rng)
    density = ClassMixture(5, 3)
    density.fit(mean, torch.full_like(mean, -1.0), labels, seed=3)
    return density


def test_a_density_without_unused_components_is_the_full_one_bit_for_bit() -> None:
    density, rng = fitted(), torch.Generator().manual_seed(1)
    z = torch.randn(4000, 3, generator=rng)
    labels = torch.randint(5, (4000,), generator=rng)
    before = written_by_0_7(density)
    assert torch.equal(density(z, labels), forward_of_0_7(before, z, labels))
    loaded = ClassMixture(5, 3)
    loaded.resize(len(density.share))
    loaded.load_state_dict(compact(before))
    assert all(torch.equal(tensor, density.state_dict()[name]) for name, tensor in loaded.state_dict().items())


def test_only_what_is_used_is_stored() -> None:
    density = fitted()
    counts = density.components.tolist()
    assert counts[1] == counts[4] == 0
    assert counts[0] == 1
    assert 1 < counts[2] <= most_components(400) == 8
    rows = 1 + sum(counts)  # and N(0, 1), for the others
    shapes = {name: tuple(tensor.shape) for name, tensor in density.state_dict().items()}
    assert shapes == {"components": (5,), "share": (rows,), "location": (rows, 3), "scale": (rows, 6)}
    assert [most_components(n) for n in (0, 1, 99, 100, 10_000)] == [0, 1, 1, 2, COMPONENTS]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_state_of_another_shape_is_left_to_the_check_of_shapes(dtype: torch.dtype) -> None:
    state = {name: tensor.to(dtype) for name, tensor in written_by_0_7(fitted()).items()}
    wrong = [
        state | {"scale": state["scale"][:, :, :2]},
        state | {"location": state["location"][:2]},
        state | {"share": state["share"][:, :5]},
        state | {"share": torch.tensor(1.0)},
        {name: tensor for name, tensor in state.items() if name != "scale"},
        *([state] if dtype != torch.float32 else []),
    ]
    for each in wrong:
        assert compact(each) is each


def test_shares_of_nothing_are_refused_in_the_older_form_too() -> None:
    state = written_by_0_7(fitted())
    state["share"][1] = 0
    density = ClassMixture(5, 3)
    today = compact(state)
    density.resize(len(today["share"]))
    density.load_state_dict(today)
    with pytest.raises(UsageError, match="sum to"):
        density.check()


def test_one_gaussian_by_hand() -> None:
    density = ClassMixture(3, 1)
    mean = torch.tensor([[2.0], [4.0]] * 15 + [[7.0]] * 10)
    density.fit(mean, torch.zeros_like(mean), torch.tensor([0] * 30 + [1] * 10), seed=0)
    # Class 0: 30 samples, mean 3, variance 1 + 1; 10 samples' worth of N(0, 1): 3/4 of each moment.
    _, location, scale = density.of(0)
    assert location.item() == pytest.approx(0.75 * 3)
    assert scale.item() == pytest.approx(math.sqrt(0.75 * 2 + 0.25))
    # Class 1: 10 samples at 7 with variance 0 + 1: half of each moment. Class 2: none.
    assert [tensor.item() for tensor in density.of(1)] == pytest.approx([1, 3.5, 1.0])
    assert [tensor.item() for tensor in density.of(2)] == [1, 0.0, 1.0]


def test_samples_come_from_the_class_gaussian() -> None:
    density = mixture([1.0], [[1.0, 2.0]], torch.tensor([[3.0, 0.0], [1.0, 0.5]]))
    z, labels = torch.randn(5, 2), torch.zeros(5, dtype=torch.int64)
    placed = torch.stack([1 + 3 * z[:, 0], 2 + z[:, 0] + 0.5 * z[:, 1]], 1)
    assert torch.allclose(density(z, labels), placed, atol=1e-6)


def test_two_heaps_become_two_components() -> None:
    """75 samples at −5 and 25 at 5, each with variance 1/4: two components of fifty on average."""
    density, rng = ClassMixture(2, 1), torch.Generator().manual_seed(0)
    mean = torch.tensor([[-5.0]] * 75 + [[5.0]] * 25)
    density.fit(mean, torch.full_like(mean, math.log(0.25)), torch.ones(100, dtype=torch.int64), seed=1)
    share, location, scale = density.of(1)
    assert share.tolist() == pytest.approx([0.75, 0.25], abs=1e-4)
    # The class as a whole: mean −2.5, variance 18.75 + 0.25, with 10 samples' worth of N(0, 1).
    whole_mean, whole_variance = 100 / 110 * -2.5, 100 / 110 * 19 + 10 / 110
    assert location[0].item() == pytest.approx(75 / 85 * -5 + 10 / 85 * whole_mean, abs=1e-3)
    assert scale[1].item() ** 2 == pytest.approx(25 / 35 * 0.25 + 10 / 35 * whole_variance, abs=1e-3)
    placed = density(torch.randn(20_000, 1, generator=rng), torch.ones(20_000, dtype=torch.int64)).flatten()
    assert float((placed < 0).float().mean()) == pytest.approx(0.75, abs=0.05)


def test_within_a_component_the_first_coordinate_stays_standard_normal() -> None:
    rng = torch.Generator().manual_seed(0)
    density = mixture([0.5, 0.3, 0.2], [[0.0, 0.0], [100.0, 0.0], [200.0, 0.0]])
    placed = density(torch.randn(50_000, 2, generator=rng), torch.zeros(50_000, dtype=torch.int64))
    for j, share in enumerate((0.5, 0.3, 0.2)):
        mine = placed[(placed[:, 0] - 100 * j).abs() < 20] - torch.tensor([100.0 * j, 0])
        assert len(mine) / 50_000 == pytest.approx(share, abs=0.01)
        assert mine.mean(0).tolist() == pytest.approx([0, 0], abs=0.05)
        assert torch.allclose(torch.cov(mine.T), torch.eye(2), atol=0.05)


def test_extreme_latents_stay_finite() -> None:
    density = mixture([0.7, 0.3], [[0.0, 0.0], [0.0, 0.0]])
    z = torch.tensor([[-40.0, 0.0], [40.0, 0.0], [0.0, 0.0]])
    assert density(z, torch.zeros(3, dtype=torch.int64)).isfinite().all()


def test_a_component_of_few_samples_is_dropped_and_its_samples_stay() -> None:
    """Four samples far away would be a component of their own: a portrait of them."""
    density, rng = ClassMixture(1, 2), torch.Generator().manual_seed(0)
    mean = torch.cat([torch.randn(196, 2, generator=rng), torch.full((4, 2), 60.0)])
    density.fit(mean, torch.full_like(mean, -2.0), torch.zeros(200, dtype=torch.int64), seed=0)
    share, location, _ = density.of(0)
    assert float(share.sum()) == pytest.approx(1, abs=1e-5)
    assert float(share.min()) * 200 >= 9.9
    assert not bool((location > 50).any())


@pytest.mark.parametrize(
    ("buffer", "value", "message"),
    [
        ("share", 0.4, "sum to"),
        ("share", -1.0, "sum to"),
        ("location", 1e6, "farther"),
        ("scale", -3e38, "farther"),
        ("components", 2, "components of no class"),
        ("components", 255, "components of no class"),
    ],
)
def test_a_received_density_must_be_one(buffer: str, value: float, message: str) -> None:
    density = ClassMixture(3, 2)
    density.check()
    density.assign({2: density.of(0)})
    density.check()
    getattr(density, buffer)[1] = value
    with pytest.raises(UsageError, match=message):
        density.check()


def test_more_components_than_a_class_has_are_refused() -> None:
    density = ClassMixture(2, 1)
    density.components[0] = COMPONENTS + 1
    density.resize(1 + COMPONENTS + 1)
    with pytest.raises(UsageError, match="more than 16 of one"):
        density.check()
