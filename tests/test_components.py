"""Components of classes: they add up as classes do, none is of few vectors, and the discriminant that follows."""

import math

import pytest
import torch
from torch import Tensor

from mosaic_fl.numerics.components import (
    ABSENT,
    MOST,
    Centres,
    Components,
    centres_of,
    components_of,
    grouped,
    mixture_discriminant,
    reduced,
    union,
)
from mosaic_fl.numerics.moments import Moments, moments_of
from mosaic_fl.numerics.randomness import Stream

STREAM = Stream(0, "generator", 3)


def groups_at(*places: tuple[int, float, int]) -> tuple[Tensor, Tensor]:
    """Vectors (n, 2) and labels of (label, place, count): they alternate around the place by 0.1."""
    rows = [torch.tensor([[place, 0.0]]).repeat(count, 1) for _, place, count in places]
    vectors = torch.cat(rows)
    vectors[:, 1] = 0.1 * (torch.arange(len(vectors)) % 2 * 2 - 1)
    vectors[:, 0] += 0.1 * (torch.arange(len(vectors)) // 2 % 2 * 2 - 1)
    return vectors, torch.cat([torch.full((count,), label) for label, _, count in places])


def cloud(count: int = 400) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 3
    return torch.randn(count, 4, generator=rng) * (1 + labels[:, None]) + labels[:, None], labels


def parts_of(vectors: Tensor, labels: Tensor, most: int = 8) -> tuple[Moments, Centres]:
    moments = moments_of(vectors, labels, 3, least=10)
    return moments, centres_of(vectors, labels, moments, most, STREAM)


def test_a_class_of_two_groups_is_two_components_and_one_of_99_vectors_is_one() -> None:
    vectors, labels = groups_at((0, -10, 60), (0, 10, 40), (2, 0, 99))
    moments, listed = parts_of(vectors, labels)
    assert listed.owners.tolist() == [0, 0]
    assert sorted(listed.sizes.tolist()) == [40, 60]
    assert sorted(listed.means[:, 0].tolist()) == pytest.approx([-10, 10], abs=1e-6)
    whole = components_of(moments, listed)
    assert whole.owners.tolist() == [0, 0, 2]
    assert whole.moments.counts.tolist() == [*listed.sizes.tolist(), 99]
    # 199 vectors, each ±0.1 away in both directions; the classes' own scatter has 60·8² + 40·12² more
    assert float(whole.moments.scatter[0, 0]) == pytest.approx(1.99, abs=0.01)
    assert float(moments.scatter[0, 0]) == pytest.approx(1.99 + 60 * 8**2 + 40 * 12**2, abs=0.01)


@pytest.mark.parametrize(("few", "components"), [(9, 0), (10, 2)])
def test_nine_vectors_apart_are_no_component(few: int, components: int) -> None:
    vectors, labels = groups_at((1, 0, 140 - few), (1, 50, few))
    _, listed = parts_of(vectors, labels, most=2)
    assert len(listed.owners) == components
    assert sorted(listed.sizes.tolist()) == ([few, 140 - few] if components else [])


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("cuts", [[], [200], [30, 31, 300]])
def test_components_of_any_split_have_the_moments_of_the_pooled_data(cuts: list[int], diagonal: bool) -> None:
    vectors, labels = cloud()
    parts = list[Components]()
    for x, y in zip(vectors.tensor_split(cuts), labels.tensor_split(cuts), strict=True):
        moments = moments_of(x, y, 3, diagonal=diagonal)
        parts.append(components_of(moments, centres_of(x, y, moments, 8, STREAM)))
    assert sum(len(part.owners) for part in parts) > 3 * len(parts) - 3
    whole = moments_of(vectors, labels, 3, diagonal=diagonal)
    for together in (union(parts), reduced(union(parts))):
        merged = grouped(together, together.owners, 3)
        assert torch.equal(merged.counts, whole.counts)
        assert torch.allclose(merged.means, whole.means, atol=1e-12)
        assert torch.allclose(merged.scatter, whole.scatter, atol=1e-9)


def test_many_components_become_a_few_of_the_same_moments() -> None:
    rng = torch.Generator().manual_seed(1)
    means = torch.randn(45, 4, generator=rng).double()
    owners = torch.tensor([0] * 40 + [2] * 5)
    many = Components(owners, Moments(torch.arange(10, 55), means, torch.eye(4).double()))
    few = reduced(many)
    assert torch.bincount(few.owners).tolist() == [MOST, 0, 5]
    before = grouped(many, many.owners, 3)
    after = grouped(few, few.owners, 3)
    assert torch.equal(after.counts, before.counts)
    assert torch.allclose(after.means, before.means, atol=1e-12)
    assert torch.allclose(after.scatter, before.scatter, atol=1e-9)


def test_the_discriminant_of_a_class_on_both_sides_of_another_by_hand() -> None:
    """Variance 1; class 0 has a quarter of all at −2 and at 2, class 1 half of all at 0, and class 2 nothing.

    log p = log(e^(2x − 2) + e^(−2x − 2)) + log ¼ and log ½: no line tells them apart, and these do.
    """
    count = 10**9  # hardly anything is shrunk
    counts = torch.tensor([count, count, 2 * count])
    means = torch.tensor([[-2.0], [2.0], [0.0]]).double()
    own = Components(torch.tensor([0, 0, 1]), Moments(counts, means, torch.tensor([[4.0 * count]]).double()))
    weights, biases = mixture_discriminant(own, 3, 2)
    x = 1.5
    logits = (weights[:, :, 0] * x + biases).logsumexp(1)
    expected = math.log(math.exp(2 * x - 2) + math.exp(-2 * x - 2)) + math.log(1 / 4) - math.log(1 / 2)
    assert float(logits[0] - logits[1]) == pytest.approx(expected, abs=1e-4)
    assert float(logits[2]) == pytest.approx(ABSENT)


def test_components_are_the_same_each_time_and_of_other_clients_others() -> None:
    vectors, labels = cloud(900)
    moments, first = parts_of(vectors, labels)
    again = centres_of(vectors, labels, moments, 8, STREAM)
    other = centres_of(vectors, labels, moments, 8, Stream(0, "generator", 4))
    assert torch.equal(first.means, again.means)
    assert not torch.equal(first.means, other.means)
    assert int(first.sizes.min()) >= 10
