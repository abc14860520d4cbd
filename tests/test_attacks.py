"""What the attacks find: an overfitted contribution on purpose, and nothing where there is nothing."""

from dataclasses import replace

import pytest
import torch

from mosaic_fl.client.contribute import Site, contribute
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.vector import Vector
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.generators.base import GeneratorSpec, build
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.privacy.audit.audit import audit, audit_model
from mosaic_fl.privacy.audit.finding import Audit, Finding
from mosaic_fl.training.monitor import Recorder
from table_cases import patients

CPU = torch.device("cpu")
BLACK_BOX = {"nearest", "nearest_ratio", "second_nearest", "gan_leaks", "domias"}
GENERATOR = {*BLACK_BOX, "reconstruction", "reconstruction_gain"}
MOMENTS = {"generator__family": "moments", "train__max_steps": 1}


def send(data: Dataset, model: str, **settings: object) -> Contribution:
    """A contribution of all of `data`: nothing is held out."""
    config = Config().with_values({"data.validation": 0.0, **{k.replace("__", "."): v for k, v in settings.items()}})
    return contribute(Site(0, data, model), config, CPU, lambda stage: Recorder())


def by_name(found: Audit) -> dict[str, Finding]:
    return {finding.attack: finding for finding in found.findings}


@pytest.fixture(scope="module")
def mixed(digits: Dataset) -> Dataset:
    """The digits in no order: they are sorted by writers."""
    return digits.subset(torch.randperm(len(digits), generator=torch.Generator().manual_seed(0)))


@pytest.fixture(scope="module")
def overfitted(mixed: Dataset) -> Contribution:
    """20 samples and 300 passes over them."""
    return send(
        mixed.subset(range(20)), "cnn:4", generator__steps=300, generator__perceptual=0.0, train__max_steps=200,
        prototypes__per_class=4, prototypes__min_cluster=1, meta__source="prototypes",
    )  # fmt: skip


def test_an_overfitted_contribution_is_caught(overfitted: Contribution, mixed: Dataset) -> None:
    found = audit(overfitted, mixed.subset(range(20)), mixed.subset(range(500, 700)), 0)
    attacks = by_name(found)
    assert set(attacks) == GENERATOR | {"loss", "lira", "prototype"}
    assert attacks["nearest"].low > 0.8
    assert attacks["reconstruction"].low > 0.9
    assert attacks["lira"].auc > 0.7
    assert attacks["prototype"].low > 0.8
    assert found.worst is not None
    assert found.worst.high == 1
    skipped = {"density": "it sends no moments", "tracing": "it sends no moments"}
    assert dict(found.skipped) == {**skipped, "lira_generator": "no shadow generators are asked for (audit.shadows)"}


def test_nothing_is_drawn_by_the_clock(overfitted: Contribution, mixed: Dataset) -> None:
    """The same seed finds the same; another one draws other samples."""
    sides = mixed.subset(range(20)), mixed.subset(range(500, 530))
    once, twice, other = (audit(overfitted, *sides, seed, seconds=2) for seed in (0, 0, 1))
    plain = [replace(finding, seconds=0) for finding in once.findings]
    assert plain == [replace(finding, seconds=0) for finding in twice.findings]
    assert plain != [replace(finding, seconds=0) for finding in other.findings]


def test_untrained_networks_tell_nothing(overfitted: Contribution, mixed: Dataset) -> None:
    """Weights that never saw a sample: every interval holds 0.5."""
    spec = GeneratorSpec("cvae", 16, 16)
    with Stream(1, "test").ambient():
        noise = copy_state(build(spec, mixed.schema))
    empty = replace(overfitted, generator_spec=spec, generator=noise)
    found = audit(empty, mixed.subset(range(200, 400)), mixed.subset(range(500, 700)), 0)
    on_noise = [finding for finding in found.findings if finding.on == "generator"]
    assert {finding.attack for finding in on_noise} == GENERATOR
    assert all(finding.low <= 0.5 <= finding.high for finding in on_noise)
    assert max(finding.high for finding in on_noise) < 0.62


def vectors(count: int, seed: int) -> Dataset:
    """Standard normal vectors of 30 numbers, of two classes that do not differ."""
    kind = Vector(30)
    schema = Schema({"vector": kind}, ("a", "b"))
    values = torch.randn(count, 30, generator=torch.Generator().manual_seed(seed))
    return Dataset(Samples(schema.fields, {"vector": values}), torch.arange(count) % 2, schema)


def test_moments_of_few_vectors_are_traced() -> None:
    """A mean of 20 vectors of 30 numbers tells who is in it; that of 2,000 hardly."""
    strangers = vectors(400, 1)
    own = vectors(40, 2)
    few = by_name(audit(send(own, "mlp:4", **MOMENTS), own, strangers, 0))
    assert few["tracing"].low > 0.75
    assert few["density"].low > 0.6
    many = vectors(4000, 3)
    hidden = by_name(audit(send(many, "mlp:4", **MOMENTS), many, strangers, 0))
    assert hidden["tracing"].high < 0.65
    assert hidden["density"].high < 0.6


def test_moments_beside_a_model_are_traced(mixed: Dataset) -> None:
    """128 numbers of a public encoder and 120 samples: each class's mean is of 12."""
    own = mixed.subset(range(120))
    sent = send(own, "cnn:2", moments__encoder="gabor", generator__family="none", train__max_steps=1)
    found = by_name(audit(sent, own, mixed.subset(range(500, 900)), 0))
    assert found["tracing"].low > 0.6
    assert found["density"].on == "moments"


def test_a_mixture_with_a_component_a_vector_is_its_vectors() -> None:
    sent = send(
        vectors(40, 2), "mlp:4", generator__family="mixtures", generator__width=20,
        generator__covariance="spherical", train__max_steps=1,
    )  # fmt: skip
    found = by_name(audit(sent, vectors(40, 2), vectors(200, 1), 0))
    assert found["density"].auc == 1
    assert found["nearest"].low > 0.9


def test_rows_of_a_table() -> None:
    """Missing values and categories have distances too. Columns' marginals have no gradients."""
    sent = send(patients(60), "mlp:8", generator__family="marginals", generator__min_samples=20, train__max_steps=20)
    found = audit(sent, patients(60), patients(120, seed=5), 0)
    assert {"nearest", "domias", "loss", "lira"} <= set(by_name(found))
    assert "cannot be searched" in dict(found.skipped)["reconstruction"]


def test_a_global_model(overfitted: Contribution, mixed: Dataset) -> None:
    model = GlobalModel(overfitted.architecture, overfitted.schema, dict(overfitted.expert))
    found = audit_model(model, mixed.subset(range(20)), mixed.subset(range(500, 700)), 0)
    assert {finding.on for finding in found.findings} == {"global model"}
    assert set(by_name(found)) == {"loss", "lira"}
    assert found.skipped == ()
