"""Exact moments: no class is too small, the digits that float32 has not, and what no data have."""

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
from mosaic_fl.generators.moments import ExactMoments
from mosaic_fl.numerics.moments import moments_of
from mosaic_fl.training.monitor import Recorder
from vector_cases import clouds

CPU = torch.device("cpu")
CONFIG = Config().with_values({"generator.family": "exact_moments", "generator.min_samples": 2, "data.validation": 0.0})


def sent(data: Dataset) -> Contribution:
    return contribute(Site(0, data, "discriminant"), CONFIG, CPU, lambda _: Recorder())


def test_they_travel_with_more_digits_than_float32_has_and_with_the_smallest_class() -> None:
    data = clouds()
    few = data.subset(torch.cat([torch.arange(240)[data.labels == 0], torch.tensor([1])]))
    generator = Contribution.from_bytes(sent(few).to_bytes()).build_generator()
    assert isinstance(generator, ExactMoments)
    true = moments_of(few.samples.only, few.labels, 3)
    assert generator.moments.counts.tolist() == [80, 1, 0]
    assert torch.allclose(generator.moments.means, true.means, rtol=1e-13, atol=1e-13)
    assert torch.allclose(generator.moments.scatter, true.scatter, rtol=1e-13, atol=1e-12)
    assert not torch.allclose(generator.scatter.double(), true.scatter[*torch.tril_indices(4, 4)], rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("counts", changed(0, -1), "of -1 vectors"),
        ("counts", changed(0, 2**60), "vectors of a class"),
        ("scatter", changed(0, -1.0), "negative variance"),
        ("scatter_rest", changed(0, -1e9), "negative variance"),
        ("scatter_rest", changed(1, 1e9), "covariance larger than its variances"),
        ("means_rest", lambda t: t[:, :2], "means_rest"),
    ],
)
def test_moments_that_no_data_have_are_refused(name: str, change: Callable[[Tensor], Tensor], words: str) -> None:
    contribution = sent(clouds())
    state = contribution.generator
    assert state is not None
    bad = replace(contribution, generator={**state, name: change(state[name])}).to_bytes()
    with pytest.raises(UsageError, match=words):
        Contribution.from_bytes(bad)


def test_vectors_that_are_too_long_are_told_before_any_work() -> None:
    data = mosaic_fl.from_arrays(torch.zeros(4, 2049).numpy(), (torch.arange(4) % 2).numpy())
    with pytest.raises(UsageError, match=r"exact_moments of vectors of 2,049 numbers: it takes up to 2,048"):
        sent(data)
    images = mosaic_fl.from_arrays(torch.zeros(40, 8, 8).byte().numpy(), (torch.arange(40) % 2).numpy())
    with pytest.raises(UsageError, match="exact_moments"):
        sent(images)


def test_mosaic_has_the_same_closed_form_of_them() -> None:
    data = clouds()
    parts = [data.subset(data.labels == c) for c in range(3)]
    contributions = [
        contribute(Site(k, p, "discriminant"), CONFIG, CPU, lambda _: Recorder()) for k, p in enumerate(parts)
    ]
    model = mosaic_fl.distill(contributions, student="discriminant", settings={"generator.family": "exact_moments"})
    test = clouds(seed=1)
    assert float((model.logits(test.samples).argmax(1) == test.labels).float().mean()) > 0.97
