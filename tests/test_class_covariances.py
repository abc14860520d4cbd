"""Covariances of classes: what they keep of themselves, and the quadratic discriminant of them, by hand."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import mosaic_fl
from mosaic_fl.client.contribute import Site, contribute
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.vector import Vector
from mosaic_fl.errors import UsageError
from mosaic_fl.experts.closed_form import moments_of_data
from mosaic_fl.generators.moments import NoisyClassMoments, noisy_spec
from mosaic_fl.models.registry import build
from mosaic_fl.numerics.class_covariances import LEAST_RATIO, class_covariances, with_own
from mosaic_fl.numerics.moments import Moments, discriminant, moments_of
from mosaic_fl.numerics.noisy_sums import NoisySums, exact_sums, repaired
from mosaic_fl.numerics.quadratic import quadratic
from mosaic_fl.training.monitor import Recorder

SHARED = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
MANY = torch.tensor([10**9, 10**9])


def logits(moments: Moments, vectors: Tensor) -> Tensor:
    """The quadratic discriminant's answers (n, C), by the network as which it travels."""
    classes = tuple(str(label) for label in range(len(moments.counts)))
    model = build("gaussian", Schema({"vector": Vector(vectors.shape[1])}, classes))
    model.load_state_dict(dict(zip(("factors", "shifts", "head.offsets"), quadratic(moments), strict=True)))
    answers: Tensor = model(vectors)
    return answers


def test_a_class_without_vectors_has_the_shared_covariance() -> None:
    own = class_covariances(torch.stack([SHARED * 5, SHARED * 9]), torch.tensor([100, 0]), SHARED)
    assert torch.allclose(own[1], SHARED)


def test_few_vectors_or_much_noise_leave_the_shared_covariance_and_many_vectors_their_own() -> None:
    """With next to no variance a class keeps `OWN` = 0.8 of what it is off: 1.5 → 1 + 0.8·0.5 = 1.4."""
    raw = torch.stack([SHARED * 1.5, SHARED * 0.75])
    kept = class_covariances(raw, MANY, SHARED)
    assert torch.allclose(kept[0], SHARED * 1.4, rtol=1e-3)
    assert torch.allclose(kept[1], SHARED * 0.8, rtol=1e-3)
    noisy = class_covariances(raw, MANY, SHARED, torch.full((2,), 1e6, dtype=torch.float64))
    assert torch.allclose(noisy, SHARED.expand(2, 2, 2), rtol=1e-3)
    assert torch.allclose(class_covariances(raw, torch.tensor([2, 2]), SHARED), SHARED.expand(2, 2, 2), rtol=1e-3)


@pytest.mark.parametrize(("factor", "ratio"), [(100.0, 1 / LEAST_RATIO), (-100.0, LEAST_RATIO)])
def test_no_direction_is_further_from_the_shared_one_than_the_ratio(factor: float, ratio: float) -> None:
    own = class_covariances(torch.stack([SHARED * factor, SHARED]), MANY, SHARED)
    assert torch.allclose(own[0], SHARED * ratio, rtol=1e-6)


def test_the_quadratic_discriminant_is_the_log_density_by_hand() -> None:
    """Two classes around 0 with variances 1 and 4, three vectors in four of the first: at x = 2 it is

    log ¾ − ½·4 = −2.288 against log ¼ − ½·1 − ½·log 4 = −2.579, whose difference is 0.291.
    """
    moments = Moments(
        torch.tensor([3, 1]),
        torch.zeros(2, 1, dtype=torch.float64),
        torch.ones(1, 1, dtype=torch.float64),
        torch.tensor([[[1.0]], [[4.0]]], dtype=torch.float64),
    )
    answer = logits(moments, torch.tensor([[2.0]]))[0].log_softmax(0)
    by_hand = math.log(3) - 2 + 0.5 + math.log(4) / 2
    assert float(answer[0] - answer[1]) == pytest.approx(by_hand, abs=1e-5)
    assert by_hand == pytest.approx(0.2918, abs=1e-3)


def test_without_covariances_of_classes_it_answers_as_the_linear_discriminant() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(300) % 3
    vectors = torch.randn(300, 5, generator=generator) + labels[:, None]
    moments = moments_of(vectors, labels, 4)
    weight, bias = discriminant(moments)
    linear = (vectors @ weight.T + bias).log_softmax(1)[:, :3]
    assert torch.allclose(logits(moments, vectors).log_softmax(1)[:, :3], linear, atol=1e-3)
    assert not bool((logits(moments, vectors * 50).argmax(1) == 3).any())  # the class without vectors


def test_classes_that_differ_in_spread_alone_are_told_apart() -> None:
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(4000) % 2
    vectors = torch.randn(4000, 4, generator=generator) * torch.where(labels == 0, 1.0, 2.0)[:, None]
    moments = with_own(moments_of(vectors, labels, 2), vectors, labels)
    right = float((logits(moments, vectors).argmax(1) == labels).double().mean())
    assert right > 0.75
    weight, bias = discriminant(moments)
    assert float(((vectors @ weight.T + bias).argmax(1) == labels).double().mean()) < 0.6


def test_squares_of_classes_add_up_to_those_of_all_and_their_noise_too() -> None:
    vectors = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
    labels = torch.tensor([0, 1, 1])
    by_class = exact_sums(vectors, labels, 2, by_class=True)
    assert by_class.squares.tolist() == [[[1, 0], [0, 0]], [[9, 3], [3, 5]]]
    noisy = NoisySums(by_class.counts, by_class.sums, by_class.squares, torch.tensor([1.0, 2.0, 3.0]).double())
    assert noisy.together.squares.tolist() == exact_sums(vectors, labels, 2).squares.tolist()
    assert noisy.together.variances.tolist() == [[1, 1], [2, 2], [6, 6]]


def test_noisy_squares_of_classes_give_covariances_near_to_those_without_noise() -> None:
    generator = torch.Generator().manual_seed(2)
    labels = torch.arange(20_000) % 2
    spread = torch.tensor([[1.0, 1.0, 1.0], [1.4, 1.0, 0.8]])[labels]
    vectors = torch.randn(20_000, 3, generator=generator) * spread
    exact = exact_sums(vectors, labels, 2, by_class=True)
    noise = torch.randn(2, 3, 3, generator=generator, dtype=torch.float64) * 50
    variances = torch.tensor([1e-9, 1e-9, 2500.0], dtype=torch.float64)
    noisy = NoisySums(exact.counts, exact.sums, exact.squares + (noise + noise.mT) / 2, variances)
    own = repaired(noisy).own
    assert own is not None
    assert own[1].diagonal().tolist() == pytest.approx([1.96, 1.0, 0.64], rel=0.15)
    assert own[0].diagonal().tolist() == pytest.approx([1.0, 1.0, 1.0], rel=0.15)


def test_moments_of_no_vector_give_a_classifier_that_says_nothing() -> None:
    moments = moments_of(torch.zeros(0, 5), torch.zeros(0, dtype=torch.int64), 3)
    answers = logits(moments, torch.randn(4, 5, generator=torch.Generator().manual_seed(3)))
    assert bool(answers.isfinite().all())
    assert torch.allclose(answers, answers[:, :1].expand(-1, 3))


def test_the_covariance_of_a_class_of_few_samples_does_not_leave_a_site() -> None:
    rng = torch.Generator().manual_seed(4)
    labels = torch.tensor([0] * 10 + [1] * 30)
    vectors = torch.randn(40, 20, generator=rng) * torch.where(labels == 0, 0.5, 1.5)[:, None]
    data = Dataset(
        Samples({"vector": Vector(20)}, {"vector": vectors}), labels, Schema({"vector": Vector(20)}, ("a", "b"))
    )
    few = moments_of_data(data, 10, own=True, least_own=40).own
    assert few is not None
    assert torch.equal(few[0], few[1])
    many = moments_of_data(data, 10, own=True, least_own=20).own
    assert many is not None
    assert torch.equal(many[0], few[0])
    assert not torch.equal(many[1], few[1])


def test_a_site_s_quadratic_model_shares_the_covariance_of_classes_of_few_samples() -> None:
    """Of 20 numbers it takes 40 samples of a class: with 30 of each both classes have the same factors."""
    rng = torch.Generator().manual_seed(5)
    labels = torch.arange(60) % 2
    vectors = torch.randn(60, 20, generator=rng) * torch.where(labels == 0, 0.5, 1.5)[:, None]
    schema = Schema({"vector": Vector(20)}, ("a", "b"))
    data = Dataset(Samples(schema.fields, {"vector": vectors}), labels, schema)
    settings = Config().with_values({"data.validation": 0.0, "generator.family": "none"})
    sent = contribute(Site(0, data, "quadratic"), settings, torch.device("cpu"), lambda stage: Recorder(stage, 0))
    assert sent.architecture == "gaussian"
    assert torch.equal(sent.expert["factors"][0].abs(), sent.expert["factors"][1].abs())


@pytest.mark.parametrize(("label", "is_right"), [(1, True), (0, False)])
def test_squares_of_one_class_may_be_no_larger_than_its_own_vectors(label: int, is_right: bool) -> None:
    """Class 0 has 40 vectors of the length 1 at most, class 1 a million: a square of 500 is too large for the first."""
    images = mosaic_fl.from_arrays(np.zeros((4, 8, 8), np.uint8), np.arange(4) % 2)
    schema = Schema({"vector": Vector(3, "gabor:3", "", images.schema.kind)}, ("a", "b"))
    generator = NoisyClassMoments(noisy_spec(schema), schema)
    squares = torch.zeros(2, 3, 3, dtype=torch.float64)
    squares[label, 0, 0] = 500.0
    counts = torch.tensor([40.0, 1e6], dtype=torch.float64)
    ones = torch.ones(3, dtype=torch.float64)
    generator.tell_noisy(NoisySums(counts, torch.zeros(2, 3, dtype=torch.float64), squares, ones), 1.0)
    if is_right:
        generator.check()
    else:
        with pytest.raises(UsageError, match="squares larger"):
            generator.check()
