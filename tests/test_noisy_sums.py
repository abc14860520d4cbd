"""Noisy sums: what one sample can change, how noise adds up, and what is left of it after the repair."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from mosaic_fl.numerics.moments import moments_of
from mosaic_fl.numerics.noisy_sums import (
    GRID,
    Mechanism,
    NoisySums,
    add,
    cleaned,
    clipped_share,
    exact_sums,
    joined,
    release,
    repaired,
    sums_of,
    whole_vectors,
)

SHARES = (0.1, 0.5, 0.4)
MECHANISM = Mechanism(clip=2.0, shares=SHARES, multiplier=3.0)
HOSTILE = [
    torch.full((6,), 1e38),
    torch.full((6,), float("inf")),
    torch.full((6,), float("nan")),
    torch.tensor([3e38, -3e38, 1e-38, 0, 0, 0]),
    torch.full((6,), -1e-40),
    torch.tensor([2.0000001, 0, 0, 0, 0, 0]),
    torch.randn(6, generator=torch.Generator().manual_seed(0)) * 1e6,
    torch.zeros(6),
]


def silent(count: int) -> bytes:
    """Bytes that stand for noise of nearly nothing: uniform numbers next to one half."""
    return b"\xfe" + b"\xff" * 7 if count == 8 else (b"\xfe" + b"\xff" * 7) * (count // 8)


def weighted(sums: NoisySums, clip: float) -> Tensor:
    """What the mechanism releases as one vector, in which noise is the same everywhere."""
    size = sums.sums.shape[1]
    rows, columns = torch.tril_indices(size, size)
    twice = torch.where(rows == columns, 1.0, math.sqrt(2))
    count, total, square = map(math.sqrt, SHARES)
    parts = (
        sums.counts * count,
        sums.sums.flatten() / clip * total,
        sums.squares[rows, columns] * twice / clip**2 * square,
    )
    return torch.cat(parts)


def test_a_sample_of_the_full_length_moves_the_statistic_by_the_sensitivity_by_hand() -> None:
    """x = (1.2, 1.6), of the length 2 = the clip: count 1·√.1, sum 1·√.5, square (0.36, 0.48, 0.64) → 1·√.4."""
    vectors = torch.tensor([[1.2, 1.6]])
    before = exact_sums(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), 3)
    after = exact_sums(vectors, torch.tensor([1]), 3)
    change = weighted(after, 2.0) - weighted(before, 2.0)
    assert float(change.square().sum()) == pytest.approx(0.1 + 0.5 + 0.4, rel=1e-6)


@pytest.mark.parametrize("place", range(len(HOSTILE)))
def test_no_sample_of_any_length_moves_the_statistic_by_more(place: int) -> None:
    others = torch.randn(20, 6, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(20) % 3
    clip = 2.0
    more = torch.cat([others, HOSTILE[place][None]])
    sums = [
        exact_sums(
            whole_vectors(vectors, clip) * (clip / GRID), torch.cat([labels, torch.tensor([2])])[: len(vectors)], 3
        )
        for vectors in (others, more)
    ]
    change = weighted(sums[1], clip) - weighted(sums[0], clip)
    assert bool(change.isfinite().all())
    assert float(change.norm()) <= 1 + 1e-9


def test_whole_vectors_are_never_longer_than_the_clip_and_keep_their_direction() -> None:
    vectors = torch.randn(2000, 128, generator=torch.Generator().manual_seed(2)) * 3
    whole = whole_vectors(vectors, 5.0)
    assert int(whole.square().sum(1).max()) <= GRID**2
    assert torch.equal(whole, whole.round())
    cosine = torch.nn.functional.cosine_similarity(whole, vectors.double())
    assert float(cosine.min()) > 0.9999
    assert clipped_share(vectors, 5.0) == 1.0
    assert clipped_share(torch.eye(4) * torch.tensor([1.0, 2, 3, 4]), 2.5) == 0.5


def test_short_vectors_are_as_they_are_but_for_the_grid() -> None:
    vectors = torch.randn(50, 4, generator=torch.Generator().manual_seed(3)) / 10
    assert torch.allclose(whole_vectors(vectors, 2.0) * 2 / GRID, vectors.double(), atol=2 / GRID)


def test_the_noise_of_each_part_is_the_multiplier_by_the_root_of_its_share() -> None:
    assert MECHANISM.noise == pytest.approx((3 / math.sqrt(0.1), 2 * 3 / math.sqrt(0.5), 4 * 3 / math.sqrt(0.4)))


def test_a_release_by_class_has_the_same_noise_on_each_square_and_the_right_vectors_in_it() -> None:
    """One vector is in the squares of one class alone, so each matrix has the noise of one of all together."""
    vectors = torch.zeros(4000, 3)
    labels = torch.arange(4000) % 100
    generator = np.random.default_rng(0)
    told = release(vectors, labels, 100, MECHANISM, generator.bytes, by_class=True)
    assert told.squares.shape == (100, 3, 3)
    diagonal = told.squares.diagonal(dim1=1, dim2=2)
    assert float(diagonal.std()) == pytest.approx(MECHANISM.noise[2], rel=0.15)
    assert float(told.squares[:, 1, 0].std()) == pytest.approx(MECHANISM.noise[2] / math.sqrt(2), rel=0.25)
    assert torch.equal(told.squares, told.squares.mT)
    quiet = release(torch.tensor([[1.2, 1.6], [0.0, 1.0]]), torch.tensor([0, 1]), 2, MECHANISM, silent, by_class=True)
    assert torch.allclose(quiet.squares[1], torch.tensor([[0.0, 0.0], [0.0, 1.0]]).double(), atol=0.01)


def test_without_noise_a_release_is_the_sums_of_the_clipped_vectors() -> None:
    vectors = torch.randn(40, 3, generator=torch.Generator().manual_seed(4)) / 4
    labels = torch.arange(40) % 2
    told = release(vectors, labels, 2, MECHANISM, silent)
    exact = exact_sums(vectors, labels, 2)
    assert told.counts.tolist() == [20, 20]
    assert torch.allclose(told.sums, exact.sums, atol=40 * 2 / GRID)
    assert torch.allclose(told.squares, exact.squares, atol=40 * 4 / GRID)


def test_released_noise_has_the_variance_that_is_told_on_every_part() -> None:
    """60 releases of nothing, 8 numbers: each part's variance within 5 standard errors of √(2/n)."""
    source = np.random.default_rng(0).bytes
    none = torch.zeros(0, 8), torch.zeros(0, dtype=torch.int64)
    told = [release(*none, 4, MECHANISM, source) for _ in range(60)]
    counts = torch.stack([one.counts for one in told])
    sums = torch.stack([one.sums for one in told])
    squares = torch.stack([one.squares for one in told])
    diagonal = squares.diagonal(dim1=1, dim2=2)
    rows, columns = torch.tril_indices(8, 8, -1)
    variances = torch.tensor(MECHANISM.noise).double().square()
    assert torch.allclose(told[0].variances, variances, rtol=1e-6)
    expected = zip((counts, sums, diagonal, squares[:, rows, columns] * math.sqrt(2)), (0, 1, 2, 2), strict=True)
    for drawn, part in expected:
        error = 5 * math.sqrt(2 / drawn.numel())
        assert float(drawn.square().mean() / variances[part]) == pytest.approx(1, abs=error)
    assert torch.equal(squares, squares.mT)


def test_sums_of_several_clients_have_the_sum_of_their_variances_and_are_those_of_the_pooled_data() -> None:
    vectors = torch.randn(60, 3, generator=torch.Generator().manual_seed(5)) / 4
    labels = torch.arange(60) % 2
    parts = [release(vectors[k::5], labels[k::5], 2, MECHANISM, silent) for k in range(5)]
    whole = release(vectors, labels, 2, MECHANISM, silent)
    merged = add(parts)
    assert torch.allclose(merged.variances, 5 * whole.class_variances)
    assert merged.counts.tolist() == whole.counts.tolist()
    assert torch.allclose(merged.sums, whole.sums)  # of whole numbers: no split changes them
    assert torch.allclose(merged.squares, whole.squares)


def told_of(counts: list[float], variance: float) -> NoisySums:
    """Squares of classes of vectors of the length 1 along the first axis, in one dimension; all noise of a variance."""
    numbers = torch.tensor(counts, dtype=torch.float64)
    return NoisySums(numbers, numbers[:, None], numbers[:, None, None], torch.full((3,), variance, dtype=torch.float64))


def test_a_site_that_has_nearly_nothing_of_a_class_brings_no_noise_to_it() -> None:
    """Class 0: with 100 alone the error is 9/100² + 1/100 = .0109, with 2 more 18/102² + 1/102 = .0115.

    Class 1: 9/60² + 1/60 = .0192 of one, 18/100² + 1/100 = .0118 of both.
    """
    both = joined([told_of([2, 60], 9), told_of([100, 40], 9)])
    assert both.counts.tolist() == [100, 100]
    assert both.sums.flatten().tolist() == [100, 100]
    assert both.squares.flatten().tolist() == [100, 100]
    assert both.variances.tolist() == [[9, 18]] * 3


def test_what_has_no_noise_always_counts_and_without_any_all_are_added() -> None:
    assert joined([told_of([2, 0], 0), told_of([100, 40], 9)]).counts.tolist() == [102, 40]
    parts = [told_of([2, 0], 0), told_of([100, 40], 0)]
    assert joined(parts).counts.tolist() == add(parts).counts.tolist()


def test_squares_of_all_classes_together_leave_no_class_of_a_site_out() -> None:
    parts = [told_of([2, 60], 9), told_of([100, 40], 9).together]
    assert joined(parts).counts.tolist() == [102, 100]


def test_without_noise_the_repair_gives_the_moments_back() -> None:
    vectors = torch.randn(300, 4, generator=torch.Generator().manual_seed(6))
    moments = moments_of(vectors, torch.arange(300) % 3, 3)
    again = repaired(sums_of(moments))
    assert again.counts.tolist() == moments.counts.tolist()
    assert torch.allclose(again.means, moments.means)
    assert torch.allclose(again.scatter, moments.scatter, rtol=1e-6, atol=1e-6)


def test_the_repair_of_noise_alone_is_a_law_to_draw_from() -> None:
    source = np.random.default_rng(1).bytes
    told = release(torch.zeros(0, 8), torch.zeros(0, dtype=torch.int64), 4, MECHANISM, source)
    moments = repaired(told)
    assert int(moments.counts.min()) >= 0
    assert moments.total >= 1
    assert float(torch.linalg.eigvalsh(moments.scatter)[0]) > 0


def test_a_class_within_the_noise_is_left_out_and_one_beyond_it_is_not() -> None:
    sums = torch.zeros(3, 2).double()
    variances = torch.tensor([100.0, 1e-6, 1e-6]).double()  # a count's standard deviation is 10
    told = NoisySums(torch.tensor([29.0, 31.0, -12.0]).double(), sums, 60 * torch.eye(2).double(), variances)
    assert repaired(told).counts.tolist() == [0, 31, 0]


def test_cleaning_removes_the_spread_that_noise_gives_to_equal_eigenvalues_and_keeps_a_large_one() -> None:
    """I + noise of the radius 1: eigenvalues in 0..2. Cleaned they are near 1; one of 6 stays near 6."""
    size = 200
    noise = torch.randn(size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    noise = (noise + noise.T) / math.sqrt(8 * size)  # entries of variance 1/(4·size), twice that on the diagonal
    matrix = torch.eye(size).double() + noise
    matrix[0, 0] += 5
    values = torch.linalg.eigvalsh(matrix)
    clean = cleaned(values, 1.0)
    assert float(values[:-1].std()) > 0.45
    assert float(clean[:-1].std()) < 0.15
    assert float(clean[-1]) == pytest.approx(6, abs=0.3)
    assert torch.equal(cleaned(values, 0.0), values)


def test_means_are_drawn_to_the_mean_of_all_as_noise_asks_for() -> None:
    """Two classes of 100 vectors at (±2, 0), variance 1: between 8 less the noise's, shares λ/(λ + v/β)."""
    counts = torch.tensor([100.0, 100.0]).double()
    means = torch.tensor([[2.0, 0.0], [-2.0, 0.0]]).double()
    squares = (means * counts[:, None]).T @ means + 200 * torch.eye(2).double()

    def distance(variance: float) -> float:
        variances = torch.tensor([1.0, variance, 0.0]).double()
        told = repaired(NoisySums(counts, means * counts[:, None], squares - variance / 50 * torch.eye(2), variances))
        return float(told.means[0, 0])

    noise = 1e4 / 100**2  # the variance of a mean's number: 1
    ratio = (8 - 2 * noise) / 2
    assert distance(0.0) == 2.0
    assert distance(1e4) == pytest.approx(2 / (1 + noise / ratio), rel=1e-6)
    assert distance(1e3) > distance(1e4) > distance(2e4) > 0
