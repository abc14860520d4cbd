"""Class moments: they add up, whatever the split; what follows from them in closed form."""

import pytest
import torch

from mosaic_fl.numerics.moments import ABSENT, Moments, covariance, discriminant, merge, moments_of, ridge


def vectors(count: int = 300, size: int = 5, classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % classes
    return torch.randn(count, size, generator=rng) + 3.0 * labels[:, None], labels


def test_moments_by_hand() -> None:
    x = torch.tensor([[0.0, 0.0], [2.0, 4.0], [5.0, 5.0]])
    m = moments_of(x, torch.tensor([0, 0, 2]), 3)
    assert m.counts.tolist() == [2, 0, 1]
    assert m.means.tolist() == [[1, 2], [0, 0], [5, 5]]
    assert m.scatter.tolist() == [[2, 4], [4, 8]]  # (−1, −2) and (1, 2)
    assert moments_of(x, torch.tensor([0, 0, 2]), 3, diagonal=True).scatter.tolist() == [2, 8]
    assert moments_of(x, torch.tensor([0, 0, 2]), 3, least=2).counts.tolist() == [2, 0, 0]


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("cuts", [[100, 200], [1, 2, 3], [150]])
def test_merged_moments_are_those_of_the_pooled_data(diagonal: bool, cuts: list[int]) -> None:
    x, y = vectors()
    order = y.argsort()  # each part has other classes
    x = x[order]
    y = y[order]
    pairs = zip(x.tensor_split(cuts), y.tensor_split(cuts), strict=True)
    parts = [moments_of(part, own, 3, diagonal=diagonal) for part, own in pairs]
    whole = moments_of(x, y, 3, diagonal=diagonal)
    merged = merge(parts)
    assert torch.equal(merged.counts, whole.counts)
    assert torch.allclose(merged.means, whole.means, atol=1e-12)
    assert torch.allclose(merged.scatter, whole.scatter, atol=1e-9)


def test_a_diagonal_and_a_full_scatter_have_a_diagonal_together() -> None:
    x, y = vectors()
    merged = merge([moments_of(x[:100], y[:100], 3), moments_of(x[100:], y[100:], 3, diagonal=True)])
    assert torch.allclose(merged.scatter, moments_of(x, y, 3, diagonal=True).scatter)


def test_the_discriminant_of_two_classes_by_hand() -> None:
    """Means ±1 and a variance near 1: log-odds are 2x, and even at 0; a class without vectors is never said."""
    steps = torch.linspace(-1.732, 1.732, 2001)[:, None]  # variance 1
    x = torch.cat([steps - 1, steps + 1])
    weight, bias = discriminant(moments_of(x, torch.arange(2).repeat_interleave(2001), 3))
    assert float(weight[1] - weight[0]) == pytest.approx(2.0, rel=0.01)
    assert float(bias[1] - bias[0]) == pytest.approx(0.0, abs=1e-4)
    assert weight[2].tolist() == [0]
    assert float(bias[2]) == ABSENT


def test_ridge_without_a_penalty_is_least_squares() -> None:
    x, y = vectors()
    weight, bias = ridge(moments_of(x, y, 3), 0.0)
    ones = torch.cat([x, torch.ones(len(x), 1)], 1)
    solution = torch.linalg.lstsq(ones.double(), torch.eye(3, dtype=torch.float64)[y]).solution
    assert torch.allclose(weight, solution[:-1].T.float(), atol=1e-5)
    assert torch.allclose(bias, solution[-1].float(), atol=1e-5)


@pytest.mark.parametrize("count", [3, 4, 30])
def test_a_covariance_can_be_inverted_however_few_the_vectors(count: int) -> None:
    x, y = vectors(count, size=20)
    shrunk = covariance(moments_of(x, y, 3))
    assert float(torch.linalg.eigvalsh(shrunk).min()) > 0
    assert bool(discriminant(moments_of(x, y, 3))[0].isfinite().all())


def test_a_covariance_of_many_vectors_in_few_directions_can_be_inverted_after_rounding_to_float32() -> None:
    """Three directions and five rounding ones: hardly anything is shrunk, and rounding made eigenvalues negative."""
    count = 1_000_000_000
    plane = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)).double() * torch.tensor([30.0, 1.0, 1.0])
    counts = torch.tensor([count // 2, count // 2])
    rounded = Moments(counts, torch.zeros(2, 8).double(), (plane @ plane.T * count).float().double())
    assert float(torch.linalg.eigvalsh(rounded.scatter).min()) < 0
    assert not int(torch.linalg.cholesky_ex(covariance(rounded)).info)
    assert float((covariance(rounded) - plane @ plane.T).abs().max()) < 1e-4 * float((plane @ plane.T).max())
