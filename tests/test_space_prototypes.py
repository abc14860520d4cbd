"""Prototypes of vectors: centres in the space that all sites share, answered by experts of whatever kind."""

from dataclasses import replace

import pytest
import torch

import mosaic_fl
from mosaic_fl.client.prototypes import prototypes
from mosaic_fl.config import Config, PrototypesConfig
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.server.checks import check_distillation
from mosaic_fl.server.experts import MixtureOfExperts
from mosaic_fl.server.prototypes import prototype_outputs
from vector_cases import clouds

FEW = {
    "train.max_steps": 20, "train.min_steps": 20, "meta.source": "prototypes", "prototypes.per_class": 1,
    "meta.steps": 30, "distill.steps": 50, "distill.pool": 300, "distill.teacher": "meta",
}  # fmt: skip


@pytest.fixture(scope="module")
def pair() -> list[Contribution]:
    """A network and trees, which share no features, on halves of the same clouds."""
    data = clouds()
    halves = [data.subset(range(120)), data.subset(range(120, 240))]
    models = ("mlp:8", "logistic")
    return [
        mosaic_fl.contribute(half, model=model, client=k, settings=FEW)
        for k, (half, model) in enumerate(zip(halves, models, strict=True))
    ]


def test_one_centre_is_the_mean_of_the_class_s_vectors() -> None:
    data = clouds(90)
    centres = prototypes(None, data, PrototypesConfig(per_class=1, min_cluster=5), Stream(0, "p"))
    assert centres.labels.tolist() == [0, 1, 2]
    for label in range(3):
        mean = data.samples.only[data.labels == label].mean(0)
        assert torch.allclose(centres.features[label], mean, atol=1e-5)


def test_experts_of_different_kinds_answer_all_prototypes(pair: list[Contribution]) -> None:
    assert all(len(one.prototypes.labels) == 3 and one.prototypes.features.shape[1] == 4 for one in pair)
    received = [Contribution.from_bytes(one.to_bytes()) for one in pair]
    mixture = MixtureOfExperts.of(received)
    outputs, labels = prototype_outputs(received, mixture)
    assert outputs.shape == (6, 2, 3)
    assert labels.tolist() == [0, 1, 2] * 2
    assert float((outputs.mean(1).argmax(1) == labels).float().mean()) > 0.9


def test_the_meta_model_learns_from_them(pair: list[Contribution]) -> None:
    check_distillation(Config().with_values(FEW), pair[0].schema, [one.architecture for one in pair])
    model = mosaic_fl.distill(pair, student="mlp:8", settings=FEW)
    test = clouds(seed=1)
    assert float((model.logits(test.samples).argmax(1) == test.labels).float().mean()) > 0.9


def test_prototypes_of_another_width_are_refused(pair: list[Contribution]) -> None:
    one = pair[0]
    wide = replace(one.prototypes, features=torch.zeros(3, 8))  # as many as the network has features
    with pytest.raises(UsageError, match="its prototypes have 8 features"):
        Contribution.from_bytes(replace(one, prototypes=wide).to_bytes())
