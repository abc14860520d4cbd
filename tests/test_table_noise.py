"""Statistics with noise: what is told, what is protected, and what is refused."""

from dataclasses import replace
from fractions import Fraction
from math import exp, log

import numpy as np
import pytest

from mosaic_fl.data.table import noise as noise_file
from mosaic_fl.data.table.merging import merge
from mosaic_fl.data.table.noise import DELTA, Noise
from mosaic_fl.data.table.pooled import pool
from mosaic_fl.data.table.rows import table_of
from mosaic_fl.errors import UsageError
from mosaic_fl.table_statistics import statistics

ROWS = {
    "age": [20 + i % 60 for i in range(2000)],
    "flag": ["yes", "no", "no", "no"] * 500,
    "stage": ["I"] * 1200 + ["II"] * 797 + ["odd"] * 3,
    "outcome": ["ill", "well"] * 999 + ["rare"] * 2,
}
PUBLIC = {"age": (0, 120)}


def test_the_noise_of_a_query_has_its_share_of_epsilon() -> None:
    """ε = 1 over 5 queries is 0.2 each. A name of one row passes the threshold with a chance of δ / 3 at most."""
    noise = Noise.of(1.0, 5, 3, least=5)
    assert noise.scale == 5
    assert noise.threshold == 5 + 75  # 5 · ln(3e6) = 74.6
    assert exp(-(noise.threshold - 1) / 5) <= DELTA / 3
    assert Noise.of(0.1, 5, 1, 1).scale == Fraction(50)
    assert Noise.of(0.1, 5, 1, 1).threshold == 1 + -int(-50 * log(1e6) // 1)


def test_every_number_that_leaves_is_noisy(monkeypatch: pytest.MonkeyPatch) -> None:
    """With noise of 100 on each count all counts are 100 more; the cells of a range then sum to 61 · 100 more."""
    monkeypatch.setattr(noise_file, "discrete_laplace", lambda scale: 100)
    told = statistics(ROWS, "outcome", client=0, epsilon=2, public=PUBLIC)
    age, flag, stage = told.columns
    assert told.rows == 2100
    assert told.classes == {"ill": 1099, "well": 1099, "rare": 102}  # the noise took the rare one past the threshold
    assert [column.absent for column in told.columns] == [100, 100, 100]
    assert flag.tallies == {"no": 1600, "yes": 600}
    assert stage.tallies == {"I": 1300, "II": 897, "odd": 103}
    assert (age.points[0], age.points[-1], len(age.points)) == (0, 120, 65)
    assert sum(age.counts) == 2000 + 65 * 100
    assert (told.epsilon, told.delta) == (2, DELTA)
    assert not any(column.constant or column.copies for column in told.columns)


def test_rare_names_are_not_told_and_the_schema_comes_out() -> None:
    sites = [statistics(ROWS, "outcome", client=client, epsilon=8, public=PUBLIC) for client in range(2)]
    assert all(set(site.classes) == {"ill", "well"} for site in sites)
    made = merge(sites)
    age, flag, stage = table_of(made.schema).columns
    assert (age.low, age.high, age.missing) == (0, 120, True)
    assert 15 <= age.knots[3] <= 30  # of 4,000 rows of 20..79
    assert 45 <= np.median(age.knots) <= 55
    assert (flag.type, flag.missing) == ("boolean", True)
    assert stage.categories == ("I", "II")


def test_public_names_are_told_without_a_threshold() -> None:
    told = statistics(
        {"x": ["a", "b", "b"] * 10, "outcome": ["ill", "well"] * 15},
        "outcome",
        client=0,
        epsilon=1,
        public={"x": ["a", "b", "c"], "outcome": ["ill", "well"]},
    )
    assert told.columns[0].categories == ("a", "b", "c")
    assert set(told.classes) == {"ill", "well"}


def test_the_cells_of_a_range_do_not_gain_rows_by_clipping() -> None:
    """64 empty cells with noise of the scale 100: to clip each at 0 would add some 64 · 50 rows."""
    noise = Noise(Fraction(100), 5)
    counts = np.zeros(65, np.int64)
    counts[10] = 10_000
    sums = [int(noise.on_cells(counts).sum()) for _ in range(20)]
    assert all((noise.on_cells(counts) >= 0).tolist())
    assert abs(np.mean(sums) - 10_000) < 1000  # one sum has the standard deviation √65 · √2 · 100 = 1,140


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 1}, "noise needs a public range of age: --public NAME=LOW:HIGH for each"),
        ({"epsilon": 0}, "epsilon is 0: 0.000001..1000000 are used"),
        ({"epsilon": float("nan")}, "epsilon is nan"),
        ({"public": {"age": (5, 5)}}, "the public range of 'age' is 5:5: it goes from low to high"),
        ({"public": {"age": ["a", "b"]}}, "column 'age' of the table has numbers: its range is public"),
        ({"public": {"stage": (0, 1)}}, "column 'stage' of the table has words: a range does not fit"),
        ({"public": {"stage": 3}}, "3 is public of 'stage': give .low, high., or a list of words"),
        ({"public": {"stag": ["I"]}}, "has no column 'stag'"),
        ({"least_rows": 0}, "the least number of rows is 0"),
        ({"client": -1}, "it is of the client -1: 0..9999 are used"),
    ],
)
def test_what_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        statistics(ROWS, "outcome", **{"client": 0, **options})  # type: ignore[arg-type]


def test_sums_are_told_where_they_are_asked_for() -> None:
    """0..99 with the outermost points 5 and 90: 0..4 count as 5, and 91..99 as 90."""
    told = statistics({"x": list(range(100))[::-1], "y": [1, 2] * 50}, ["a", "b"] * 50, client=0, sums=True)
    assert [column.total for column in told.columns] == [4950 + 15 - 45, 150]
    other = statistics({"x": [10] * 100, "y": [1, 2] * 50}, ["a", "b"] * 50, client=1, sums=True)
    means = [column.mean for column in pool([told, other])]
    assert means == [(4920 + 1000) / 200, 1.5]
    assert statistics({"y": [1, 2] * 50}, ["a", "b"] * 50, client=0).columns[0].total is None
    silent = replace(other, columns=(replace(other.columns[1], total=None),))
    assert pool([told, silent])[1].mean is None


def test_a_row_changes_a_noisy_sum_by_its_greatest_value_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scale of 4 queries with ε = 1 is 4, and the greatest value 120 is 2¹⁶ parts: 4 · 2¹⁶ parts are 480."""
    scales = list[Fraction]()
    monkeypatch.setattr(noise_file, "discrete_laplace", lambda scale: scales.append(scale) or int(scale))
    rows = {"age": [30, 40] * 500, "outcome": ["a", "b"] * 500}
    told = statistics(rows, "outcome", client=0, epsilon=1, public=PUBLIC, sums=True)
    assert max(scales) == 4 * 2**16
    assert sorted(scales)[:-1] == [Fraction(4)] * (len(scales) - 1)
    assert told.columns[0].total == pytest.approx(35_000 + 480, abs=1)
