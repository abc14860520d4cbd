"""Mixtures of vectors: what is fitted and drawn, by hand, and what no mixture has."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import mosaic_fl
from hostile_states import changed
from mosaic_fl.client.contribute import Site, contribute
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.generators.mixtures import Mixtures
from mosaic_fl.training.monitor import Recorder
from vector_cases import clouds

CPU = torch.device("cpu")
FORMS = ("spherical", "diagonal", "full")
# Class 0 has four corners of a rectangle of 2 by 4, class 1 one vector.
FIVE = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 4.0], [2.0, 4.0], [7.0, 7.0]])


def sent(data: Dataset, form: str = "diagonal", components: int = 1, seed: int = 0) -> Contribution:
    settings = {
        "generator.family": "mixtures", "generator.covariance": form, "generator.width": components,
        "generator.min_samples": 2, "data.validation": 0.0, "run.seed": seed,
    }  # fmt: skip
    return contribute(Site(0, data, "discriminant"), Config().with_values(settings), CPU, lambda _: Recorder())


def built(contribution: Contribution) -> Mixtures:
    generator = Contribution.from_bytes(contribution.to_bytes()).build_generator()
    assert isinstance(generator, Mixtures)
    return generator


def five() -> Dataset:
    return mosaic_fl.from_arrays(FIVE.numpy(), torch.tensor([0, 0, 0, 0, 1]).numpy())


@pytest.mark.parametrize(
    ("form", "spread"),
    [("spherical", 2.5**0.5), ("diagonal", [1.0, 2.0]), ("full", [1.0, 0.0, 2.0])],  # variances 1 and 4, mean 2.5
)
def test_one_gaussian_has_the_mean_and_the_covariance_of_its_class(form: str, spread: object) -> None:
    generator = built(sent(five(), form))
    assert generator.counts.tolist() == [4, 1]
    assert generator.weights.tolist() == [[1], [1]]
    assert generator.means[:, 0].tolist() == [[1, 2], [7, 7]]
    assert generator.spread[0, 0].tolist() == pytest.approx(spread, rel=1e-4, abs=1e-6)
    assert float(generator.spread[1].abs().max()) < 1e-5  # a vector alone has no spread
    z = torch.tensor([[0.0, 1.0, -1.0], [0.0, 1.0, -1.0]])
    first, second = generator(z, torch.tensor([0, 1])).tolist()
    assert first == pytest.approx([2.58, 0.42] if form == "spherical" else [2, 0], abs=0.01)
    assert second == pytest.approx([7, 7], abs=1e-4)


def test_a_full_gaussian_draws_what_hangs_together() -> None:
    """Of x and 2x + a little, the root of the covariance has the rows (1, 0) and (2, 0.1)."""
    generator = built(sent(five(), "full"))
    generator.spread[0, 0] = torch.tensor([1.0, 2.0, 0.1])
    z = torch.tensor([[0.0, 3.0, 10.0]])
    assert generator(z, torch.tensor([0])).tolist() == [pytest.approx([1 + 3, 2 + 6 + 1])]


def test_the_first_latent_picks_the_component_by_its_weight() -> None:
    x = torch.cat([torch.zeros(30, 1), torch.full((10, 1), 8.0)])
    generator = built(sent(mosaic_fl.from_arrays(x.numpy(), torch.tensor([0] * 39 + [1]).numpy()), "diagonal", 2))
    big = int(generator.weights[0].argmax())
    assert generator.weights[0, big] == pytest.approx(30 / 39)
    assert generator.means[0, big] == pytest.approx(0.0, abs=1e-5)
    z = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0))
    low = (generator(z, torch.zeros(4000, dtype=torch.int64)) < 4).float().mean()
    assert float(low) == pytest.approx(30 / 39, abs=0.02)
    assert generator.weights[1].tolist() == [1, 0]  # one vector, one component


@pytest.mark.parametrize("form", FORMS)
def test_the_same_seed_fits_the_same_and_draws_lie_as_the_data_do(form: str) -> None:
    data = clouds(600)
    first, again, other = (sent(data, form, 3, seed) for seed in (0, 0, 1))
    assert first.to_bytes() == again.to_bytes()
    assert first.to_bytes() != other.to_bytes()
    labels = torch.arange(6000) % 3
    drawn = built(first).samples(data.schema.fields, labels, torch.Generator().manual_seed(0)).only
    for label in range(3):
        assert torch.allclose(drawn[labels == label].mean(0), torch.full((4,), 3.0 * label), atol=0.25)
        assert torch.allclose(drawn[labels == label].std(0), torch.ones(4), atol=0.2)


def test_equal_vectors_and_very_large_ones_have_a_mixture() -> None:
    x = torch.cat([torch.zeros(20, 3), 1e6 + 1e5 * torch.randn(40, 3, generator=torch.Generator().manual_seed(0))])
    labels = torch.tensor([0] * 20 + [1] * 40)
    for form in FORMS:
        generator = built(sent(mosaic_fl.from_arrays(x.numpy(), labels.numpy()), form, 4))
        assert bool(generator.spread.isfinite().all())


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("counts", changed(0, -1), "of -1 vectors"),
        ("counts", changed(0, 0), "weights"),
        ("weights", changed(0, -1.0), "weights below 0"),
        ("weights", changed(0, 0.5), "do not add up to 1"),
        ("spread", changed(0, -1.0), "negative deviation"),
        ("spread", lambda t: t[..., :1], "spread"),
        ("means", lambda t: t[:, :, :1], "means"),
    ],
)
def test_mixtures_that_there_are_not_are_refused(name: str, change: Callable[[Tensor], Tensor], words: str) -> None:
    contribution = sent(clouds())
    state = contribution.generator
    assert state is not None
    bad = replace(contribution, generator={**state, name: change(state[name])}).to_bytes()
    with pytest.raises(UsageError, match=words):
        Contribution.from_bytes(bad)


def test_what_is_no_vector_or_too_large_is_told_before_any_work() -> None:
    images = mosaic_fl.from_arrays(torch.zeros(40, 8, 8).byte().numpy(), (torch.arange(40) % 2).numpy())
    with pytest.raises(UsageError, match="mixtures"):
        sent(images)
    wide = mosaic_fl.from_arrays(torch.zeros(4, 3000).numpy(), (torch.arange(4) % 2).numpy())
    with pytest.raises(UsageError, match=r"lower generator.width, or set generator.covariance"):
        sent(wide, "full", 10)


def test_mixtures_of_no_vectors_are_refused() -> None:
    """Their client would have no draws in the pool of FedPFT, and so stop the server."""
    honest = sent(clouds(30))
    assert honest.generator is not None
    state = dict(honest.generator)
    empty = {name: torch.zeros_like(state[name]) for name in ("counts", "weights")}
    with pytest.raises(UsageError, match="of no vectors at all"):
        Contribution.from_bytes(replace(honest, generator=state | empty).to_bytes())
