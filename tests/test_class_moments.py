"""Class moments as a generator, a teacher and a global model: the split does not matter, and nothing is trained."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import mosaic_fl
from command import mosaic
from hostile_states import changed
from mosaic_fl.client.contribute import Site, contribute
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.generators.base import join
from mosaic_fl.generators.moments import ClassMoments
from mosaic_fl.training.monitor import Recorder
from vector_cases import clouds

CPU = torch.device("cpu")
CONFIG = Config().with_values({"generator.family": "moments", "data.validation": 0.0})


def contributions(parts: list[Dataset], model: str = "discriminant") -> list[Contribution]:
    return [contribute(Site(k, part, model), CONFIG, CPU, lambda _: Recorder()) for k, part in enumerate(parts)]


def generators(sent: list[Contribution]) -> list[ClassMoments]:
    built = [contribution.build_generator() for contribution in sent]
    return [generator for generator in built if isinstance(generator, ClassMoments)]


def test_a_class_of_nine_vectors_stays_at_its_site() -> None:
    data = clouds()
    few = data.subset(torch.cat([torch.arange(240)[data.labels == 0], torch.arange(240)[data.labels == 1][:9]]))
    sent = contributions([few])
    (generator,) = generators(sent)
    assert generator.counts.tolist() == [80, 0, 0]
    assert generator.means[1].tolist() == [0, 0, 0, 0]
    assert sent[0].expert["head.weight"][1].tolist() == [0, 0, 0, 0]  # the weights and the scatter tell the mean
    assert torch.allclose(generator.means[0], few.samples.only[few.labels == 0].mean(0), atol=1e-6)


def test_a_site_whose_classes_are_all_small_says_nothing_and_takes_part() -> None:
    data = clouds()
    sent = contributions([data.subset([*range(24)]), data.subset([*range(24, 240)])])  # eight a class, and 72
    assert not bool(sent[0].expert["head.weight"].any())
    model = mosaic_fl.distill(sent, student="discriminant")
    assert float((model.logits(data.samples).argmax(1) == data.labels).float().mean()) > 0.97


@pytest.mark.parametrize("by_class", [True, False])
def test_joined_generators_draw_from_the_pooled_data_whatever_the_split(by_class: bool) -> None:
    data = clouds()
    order = data.labels.argsort() if by_class else torch.arange(240)
    parts = [data.subset(part) for part in order.tensor_split(3)]
    whole = generators(contributions([data]))
    several = generators(contributions(parts))
    join(whole)
    join(several)
    z = torch.randn(30, 4, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(30) % 3
    for generator in several:
        assert torch.allclose(generator(z, labels), whole[0](z, labels), atol=1e-4)


def test_the_global_model_is_the_same_for_every_split_and_that_of_pooled_data() -> None:
    data = clouds()
    splits = [
        [data],
        [data.subset(data.labels == c) for c in range(3)],
        [data.subset([*range(60)]), data.subset([*range(60, 240)])],
    ]
    models = [mosaic_fl.distill(contributions(parts), student="discriminant") for parts in splits]
    test = clouds(seed=1)
    first = models[0].logits(test.samples)
    assert models[0].architecture == "linear"
    for model in models[1:]:
        assert torch.allclose(model.logits(test.samples), first, atol=1e-3)
    assert float((first.argmax(1) == test.labels).float().mean()) > 0.97


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("counts", changed(0, 3), "of 3 vectors of a class"),
        ("counts", changed(0, -1), "of -1 vectors"),
        ("counts", changed(0, 2**60), "vectors of a class"),
        ("scatter", changed(0, -1.0), "negative variance"),
        ("scatter", changed(1, 1e6), "covariance larger than its variances"),
        ("scatter", lambda t: t[:-1], "scatter"),
        ("means", lambda t: t[:, :2], "means"),
    ],
)
def test_moments_that_no_data_have_are_refused(name: str, change: Callable[[Tensor], Tensor], words: str) -> None:
    (sent,) = contributions([clouds()])
    state = sent.generator
    assert state is not None
    bad = replace(sent, generator={**state, name: change(state[name])}).to_bytes()
    with pytest.raises(UsageError, match=words):
        Contribution.from_bytes(bad)


def test_covariances_that_no_data_have_together_are_refused() -> None:
    """Each pair may be, and all three may not: two that go with the third go with each other."""
    data = clouds(size=3)
    (sent,) = contributions([data])
    state = sent.generator
    assert state is not None
    scatter = torch.tensor([1.0, 0.9, 1.0, 0.9, -0.9, 1.0])
    with pytest.raises(UsageError, match="not positive"):
        Contribution.from_bytes(replace(sent, generator={**state, "scatter": scatter}).to_bytes())


def test_what_moments_are_not_of_is_told_before_any_work() -> None:
    images = mosaic_fl.from_arrays(torch.zeros(40, 8, 8).byte().numpy(), (torch.arange(40) % 2).numpy())
    with pytest.raises(UsageError, match="moments"):
        contribute(Site(0, images, "mlp:8"), CONFIG, CPU, lambda _: Recorder())


def test_the_preset_trains_nothing_and_the_split_does_not_matter(tmp_path: Path) -> None:
    accuracies = list[float]()
    for alpha in ("0.05", "5"):
        mosaic("run", "--preset", "encoder", "--alpha", alpha, "--out", f"r{alpha}", cwd=tmp_path)
        result = json.loads((tmp_path / f"r{alpha}" / "result.json").read_text())
        assert result["choice"]["teacher"] == "moments"
        accuracies.append(result["accuracy"])
    assert min(accuracies) > 0.97
    assert abs(accuracies[0] - accuracies[1]) < 0.015
