"""`generator.components`: classes told as several Gaussians, in a client's file, at the server, in a global model."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import mosaic_fl
from hostile_states import changed
from moments_cases import FEW, split_by_class
from mosaic_fl.client.contribute import Site
from mosaic_fl.client.custody import CONTRIBUTION, Custody
from mosaic_fl.config import Config
from mosaic_fl.config.site_limits import SiteLimits
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import RefusalError, UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.generators.base import GeneratorSpec, join
from mosaic_fl.generators.moments import FAMILY, MixedMoments
from mosaic_fl.generators.moments.generator import MIXED
from mosaic_fl.generators.moments.part import part_of
from mosaic_fl.numerics.components import grouped
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.privacy.audit.attacks.density import gaussians
from mosaic_fl.runs.inspection import Inspection, inspect
from mosaic_fl.server.feature_space import feature_space
from mosaic_fl.server.region import as_contribution
from mosaic_fl.training.monitor import Recorder
from vector_cases import clouds

SEVERAL = {"generator.family": "moments", "generator.components": 4, "data.validation": 0.0}


def ring(count: int = 600, seed: int = 0) -> Dataset:
    """Class 0 around −4 and 4 of the first number, class 1 around 0: no line tells them apart. Deviations are 1."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    features = torch.randn(count, 3, generator=rng)
    features[:, 0] += (1 - labels) * 4.0 * (torch.arange(count) // 2 % 2 * 2 - 1)
    return mosaic_fl.from_arrays(features.numpy(), labels.numpy(), classes=2)


def told(data: Dataset, client: int = 0, settings: Mapping[str, Any] = SEVERAL) -> Contribution:
    return mosaic_fl.contribute(data, model="discriminant", client=client, settings=dict(settings))


def mixed(sent: Contribution) -> MixedMoments:
    built = sent.build_generator()
    assert isinstance(built, MixedMoments)
    return built


@pytest.fixture(scope="module")
def sent() -> Contribution:
    return told(ring())


def test_what_is_told_of_classes_is_the_same_with_and_without_components(sent: Contribution) -> None:
    plain = told(ring(), settings=SEVERAL | {"generator.components": 1})
    assert plain.generator is not None
    assert sent.generator is not None
    assert sorted(plain.generator) == ["counts", "means", "scatter"]
    for name, tensor in plain.generator.items():
        assert torch.equal(sent.generator[name], tensor)
    again = Contribution.from_bytes(sent.to_bytes())
    assert again.to_bytes() == sent.to_bytes()
    own = mixed(again).components
    assert own is not None
    assert torch.bincount(own.owners).tolist() == [4, 4]  # 300 vectors a class are enough for six
    classes = grouped(own, own.owners, 2)
    assert torch.equal(classes.counts, mixed(sent).counts)
    assert torch.allclose(classes.means, mixed(sent).moments.means, atol=1e-6)
    assert torch.allclose(classes.scatter, mixed(sent).moments.scatter, atol=1e-2)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("sizes", changed(0, 9), "components of 9 vectors: at least 10"),
        ("sizes", lambda t: t + torch.tensor([1] + [0] * 7), "of 301 vectors of a class of 300"),
        ("owners", changed(7, 2), "components of no class"),
        ("owners", changed(0, 1), "not in the order of classes"),
        ("centres", lambda t: t + 1, "whose mean is not that of their class"),
        ("centres", lambda t: t[:-1], "centres"),
        ("owners", lambda t: t[:-1], "sizes|centres"),
        ("owners", lambda t: t.repeat(5), "40 components of 3 numbers: at most 16 a class, here 32"),
        ("owners", lambda t: t[:, None], "owners|centres"),
    ],
)
def test_components_that_are_not_those_of_the_classes_are_refused(
    sent: Contribution, name: str, change: Callable[[Tensor], Tensor], words: str
) -> None:
    state = sent.generator
    assert state is not None
    bad = replace(sent, generator={**state, name: change(state[name])}).to_bytes()
    with pytest.raises(UsageError, match=words):
        Contribution.from_bytes(bad)


def test_components_farther_apart_than_the_class_is_wide_are_refused(sent: Contribution) -> None:
    """Two that move away from each other keep the class's mean, and leave a negative variance within components."""
    state = sent.generator
    assert state is not None
    pull = torch.zeros_like(state["centres"])
    pull[0] = 50.0 / state["sizes"][0] * state["sizes"][1]
    pull[1] = -50.0
    bad = replace(sent, generator={**state, "centres": state["centres"] + pull}).to_bytes()
    with pytest.raises(UsageError, match="negative variance"):
        Contribution.from_bytes(bad)


def test_draws_are_of_the_components_in_their_shares_and_normal_within() -> None:
    sites = [mixed(told(part, k)) for k, part in enumerate([ring(600), ring(400, seed=1)])]
    join(sites)
    z = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(4000, dtype=torch.int64)
    drawn = sites[0](z, labels)
    assert torch.equal(drawn, sites[1](z, labels))  # all draw from all
    first = drawn[:, 0]
    assert float((first > 0).float().mean()) == pytest.approx(0.5, abs=0.03)
    assert float((first.abs() < 1.5).float().mean()) < 0.03  # between the groups there is next to nothing
    assert float(drawn[:, 1].std()) == pytest.approx(1.0, abs=0.08)
    assert float((first.abs() - 4).std()) == pytest.approx(1.0, abs=0.15)


def test_the_mixture_tells_apart_what_the_discriminant_cannot_whatever_the_split() -> None:
    data = ring(1200)
    test = ring(400, seed=5)
    splits = [[data], split_by_class(data, 2), [data.subset(range(200)), data.subset(range(200, 1200))]]
    for parts in splits:
        sites = [told(part, k) for k, part in enumerate(parts)]
        right = {
            student: float(
                (mosaic_fl.distill(sites, student=student).logits(test.samples).argmax(1) == test.labels).float().mean()
            )
            for student in ("mixture", "discriminant")
        }
        assert right["mixture"] > 0.93
        assert right["discriminant"] < 0.7


def test_sites_of_both_kinds_are_in_one_federation_and_a_site_may_send_a_mixture() -> None:
    data = ring(1000)
    several = mosaic_fl.contribute(data.subset(range(600)), model="mixture", client=0, settings=SEVERAL)
    assert several.architecture == "subclasses:16"
    plain = told(data.subset(range(600, 1000)), 1, SEVERAL | {"generator.components": 1})
    model = mosaic_fl.distill([several, plain], student="mixture")
    test = ring(400, seed=5)
    assert float((model.logits(test.samples).argmax(1) == test.labels).float().mean()) > 0.85
    assert (
        float((several.build_expert().log_probabilities(test.samples).argmax(1) == test.labels).float().mean()) > 0.93
    )


def test_without_components_the_mixture_is_the_discriminant() -> None:
    data = clouds()
    sites = [told(data, settings=SEVERAL | {"generator.components": 1})]
    test = clouds(seed=1)
    ours, linear = (mosaic_fl.distill(sites, student=name).logits(test.samples) for name in ("mixture", "discriminant"))
    assert torch.allclose(ours.log_softmax(1), linear.log_softmax(1), atol=1e-3)


def test_a_forecast_counts_as_many_components_as_a_client_tells_or_more() -> None:
    generator = MixedMoments(GeneratorSpec("moments", 3, MIXED), ring().schema)
    assert len(generator.expect([99, 100]).owners) == 2
    assert len(generator.expect([300, 10_000]).owners) == 6 + 16


def test_long_vectors_have_a_diagonal_and_components_too() -> None:
    """Two groups a class around ±2 in each of 2,049 numbers, of variance 1: beyond 2,048 a diagonal is sent."""
    rng = torch.Generator().manual_seed(0)
    signs = torch.arange(200) % 2 * 2 - 1
    vectors = torch.randn(200, 2049, generator=rng) + 2.0 * signs[:, None]
    data = mosaic_fl.from_arrays(vectors.numpy(), (torch.arange(200) // 100).numpy())
    config = Config().with_values(SEVERAL).generator
    built = FAMILY.train(data, None, config, Stream(0, "generator", 0), torch.device("cpu"), Recorder())
    assert isinstance(built, MixedMoments)
    built.check()
    own = built.components
    assert own is not None
    assert own.moments.is_diagonal
    assert own.moments.counts.tolist() == [50] * 4
    assert float(own.moments.scatter.mean()) / 200 == pytest.approx(1.0, abs=0.05)
    drawn = built(torch.randn(40, 2049, generator=rng), torch.arange(40) % 2)
    assert float(drawn.mean(1).abs().min()) > 1.5
    assert 5 < int((drawn.mean(1) > 0).sum()) < 35


def test_a_client_that_counts_in_part_is_one_gaussian_a_class(sent: Contribution) -> None:
    assert sent.generator is not None
    part = part_of(sent.generator, torch.tensor([0.5, 1.0], dtype=torch.float64))
    built = mixed(replace(sent, generator=part))
    assert built.components is None
    assert built.counts.tolist() == [150, 300]


def test_with_epsilon_components_are_refused() -> None:
    wrong = {**SEVERAL, "privacy.epsilon": 1.0}
    with pytest.raises(UsageError, match=r"chosen from data without noise: set generator\.components = 1, not 4"):
        told(ring(), settings=wrong)


def test_an_inspection_says_how_many_groups_a_file_tells(sent: Contribution, tmp_path: Path) -> None:
    (tmp_path / "a.contribution").write_bytes(sent.to_bytes())
    smallest = int(mixed(sent).sizes.min())
    line = f"its class moments tell 8 groups of samples within classes, the smallest of {smallest}"
    inspection = inspect(tmp_path / "a.contribution")
    assert isinstance(inspection, Inspection)
    assert line in inspection.warnings


def test_a_site_limits_them_as_it_limits_prototypes() -> None:
    site = Site(0, ring(), "discriminant")
    for components, most, refused in ((4, 3, True), (4, 4, False), (1, 0, False)):
        config = Config().with_values({**SEVERAL, "generator.components": components})
        custody = Custody(SiteLimits(prototypes=most))
        if refused:
            with pytest.raises(RefusalError, match=r"generator\.components = 4 is above limits\.prototypes = 3"):
                custody.check(site, config, torch.device("cpu"), CONTRIBUTION)
        else:
            custody.check(site, config, torch.device("cpu"), CONTRIBUTION)


def test_beside_pictures_components_are_told_and_a_region_tells_them_together(digits: Dataset) -> None:
    settings = {**FEW, "generator.components": 3, "moments.encoder": "strokes", "generator.min_samples": 2}
    one = {**settings, "generator.components": 1}
    data = digits.subset(range(1000))
    test = digits.subset(range(1000, 1500))
    parts = split_by_class(data, 2)

    def tell(own: Mapping[str, Any], **more: Any) -> list[Contribution]:
        words = {**own, **more}
        return [
            Contribution.from_bytes(mosaic_fl.contribute(p, model="mlp:4", client=k, settings=words).to_bytes())
            for k, p in enumerate(parts)
        ]

    right = dict[int, float]()
    for words in (settings, one):
        space = feature_space(tell(words))
        assert space is not None
        assert (space.components is not None) == (words is settings)
        said = space.expert.log_probabilities(test.samples).argmax(1)
        right[int(words["generator.components"])] = float((said == test.labels).float().mean())
        drawn = space.decoded(50, data.schema.fields, Stream(0, "decoded"))
        assert drawn.only.shape == (50, 1, 8, 8)
    assert right[3] > right[1] - 0.02
    sites = tell(settings, **{"generator.family": "cvae", "generator.steps": 3})
    model = mosaic_fl.distill(
        sites, student="mlp:4", settings={"distill.steps": 2, "distill.pool": 50, "distill.prior": "none"}
    )
    region = Contribution.from_bytes(as_contribution(model, sites, 7).to_bytes())
    alone = feature_space([region])
    apart = feature_space(sites)
    assert alone is not None
    assert apart is not None
    ours, theirs = (space.expert.log_probabilities(test.samples) for space in (alone, apart))
    assert torch.allclose(ours, theirs, atol=2e-2)


def test_an_audit_holds_each_vector_against_the_nearest_gaussian_of_its_class(sent: Contribution) -> None:
    data = ring(80, seed=2)
    moments, places = gaussians(data, mixed(sent))
    own = mixed(sent).components
    assert own is not None
    assert torch.equal(own.owners[places], data.labels)
    away = (data.samples.only.double()[:, None] - own.moments.means).square().sum(2)  # covariances are near 1
    away[data.labels[:, None] != own.owners] = torch.inf
    assert float((away.argmin(1) == places).float().mean()) > 0.9
    assert moments.counts.tolist() == [*own.moments.counts.tolist(), 0]
    few = mosaic_fl.from_arrays(data.samples.only.numpy(), data.labels.numpy(), classes=2)
    alone = mixed(told(ring().subset((ring().labels == 0).nonzero().flatten().tolist())))
    unknown, numbers = gaussians(few, alone)
    assert bool((unknown.counts[numbers[data.labels == 1]] == 0).all())
