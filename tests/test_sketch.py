"""Sketches of numbers and the noise on counts: what they tell, and how exact they are."""

import math
import random
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from mosaic_fl.data.table.knots import weighted_knots
from mosaic_fl.data.table.sketch import BINS, cells_of, histogram, most_error, sketch
from mosaic_fl.numerics.discrete_laplace import discrete_laplace

LEAST = 5


def test_a_sketch_of_few_values_is_exact() -> None:
    points, counts = sketch(np.repeat([1.0, 2.0, 7.0], [20, 5, 30]), LEAST, whole=True)
    assert (points.tolist(), counts.tolist()) == ([1, 2, 7], [20, 5, 30])


def test_no_point_has_fewer_rows_than_the_least_on_either_side() -> None:
    """Of 0..99 the first point is 5, with 0..5; then come five rows each, and 90..99 are the last point's."""
    points, counts = sketch(np.arange(100.0), LEAST, whole=True)
    assert points[:3].tolist() == [5, 10, 15]
    assert counts[:2].tolist() == [6, 5]
    assert points[-1] == 90
    assert counts[-1] == 14
    assert counts.sum() == 100
    assert sketch(np.arange(11.0), LEAST, whole=True)[1].tolist() == []
    assert sketch(np.array([0.0] * 97 + [1.0] * 3), LEAST, whole=True)[0].tolist() == [0]  # 1 has three rows
    assert sketch(np.array([0.0, 1.0, 1.0, 2.0] * 3), LEAST, whole=True)[0].tolist() == [1]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("least", [1, 5, 20])
def test_merged_quantiles_are_within_the_error_that_is_said(seed: int, least: int) -> None:
    """Four sites of other laws and sizes, with atoms and long tails; values have three digits, so rounding is none."""
    rng = np.random.default_rng(seed)
    sites = [
        np.where(rng.random(5000) < 0.6, 0, rng.integers(1, 1000, 5000)),
        rng.integers(200, 400, 300),
        np.minimum(rng.geometric(0.02, 2000), 999),
        np.repeat(rng.integers(0, 1000, 40), 3),
    ]
    sketches = [sketch(site.astype(float), least, whole=True) for site in sites]
    for site, (points, counts) in zip(sites, sketches, strict=True):
        assert counts.sum() == len(site)
        assert counts.min() >= least
        assert min((site <= points[0]).sum(), (site >= points[-1]).sum()) > least
        assert len(points) <= BINS + 2
    values, places = np.unique(np.concatenate([points for points, _ in sketches]), return_inverse=True)
    merged = np.bincount(places, np.concatenate([counts for _, counts in sketches])).cumsum()
    pooled = np.sort(np.concatenate(sites))
    error = most_error([len(site) for site in sites], [least] * 4)
    off = np.abs(merged - np.searchsorted(pooled, values, "right"))
    assert off.max() <= error
    ranks = np.arange(least, len(pooled) - least)
    found = values[np.searchsorted(merged, ranks, "right")]
    assert (found >= pooled[np.maximum(ranks - error, 0)]).all()
    assert (found <= pooled[np.minimum(ranks + error, len(pooled) - 1)]).all()


def test_the_error_is_one_rank_in_128_at_large_sites() -> None:
    assert most_error([12_800, 100], [5, 5]) == 100 + 10


def test_weighted_knots_are_those_of_the_values_themselves() -> None:
    knots = weighted_knots(np.array([1.0, 2.0, 3.0]), np.array([50, 1000, 70]), LEAST, whole=True)
    assert knots == weighted_knots(
        *np.unique(np.repeat([1.0, 2, 3], [50, 1000, 70]), return_counts=True), 5, whole=True
    )
    assert knots == (1, 2, 3)


def test_cells_of_a_public_range() -> None:
    assert cells_of(0, 3, whole=True).tolist() == [0, 1, 2, 3]
    ends = cells_of(0, 128, whole=False)
    assert ends[:3].tolist() == [0, 2, 4]
    assert histogram(np.array([-5.0, 0, 0.1, 2, 2.1, 500]), ends)[[0, 1, 2, -1]].tolist() == [2, 2, 1, 1]


@pytest.mark.parametrize("scale", [Fraction(1, 2), Fraction(1), Fraction(10, 3)])
def test_the_noise_has_its_law(scale: Fraction) -> None:
    """P(k) = (1 − a) / (1 + a) · a^|k|, a = exp(−1/scale); chi² of 9 cells is below its 0.9999 point."""
    rng = random.Random(1)  # noqa: S311
    draws = 20_000
    counts = Counter(max(-4, min(4, discrete_laplace(scale, rng.randrange))) for _ in range(draws))
    a = math.exp(-1 / scale)
    chance = {k: (1 - a) / (1 + a) * a ** abs(k) for k in range(-3, 4)}
    chance[4] = chance[-4] = a**4 / (1 + a)
    assert math.isclose(sum(chance.values()), 1)
    assert sum((counts[k] - draws * p) ** 2 / (draws * p) for k, p in chance.items()) < 31.8


def test_the_noise_comes_from_the_system() -> None:
    assert len({discrete_laplace(Fraction(1000)) for _ in range(20)}) > 1
