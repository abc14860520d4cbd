"""Noise on the counts that a site tells, for (ε, δ)-differential privacy of a row."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from mosaic_fl.data.table.knots import Counts
from mosaic_fl.data.table.values import Values
from mosaic_fl.numerics.discrete_laplace import discrete_laplace

DELTA = 1e-6
"""The chance at most that a name that is not public is told because of one row."""

UNITS = 2**16  # parts of the greatest value, in which sums are counted


@dataclass(frozen=True)
class Noise:
    """Noise of one `scale` on every count; a name that is not public is told from a noisy count of `threshold` on."""

    scale: Fraction
    threshold: int

    @classmethod
    def of(cls, epsilon: float, queries: int, histograms: int, least: int) -> "Noise":
        """The noise that shares ε among so many `queries`, in each of which a row counts once.

        `histograms` of them have names that may tell of one row. By the threshold each does so with a chance of
        δ / histograms at most (stability: Korolova et al., WWW 2009), and with as small a one tells a name that fewer
        than `least` rows have.
        """
        scale = queries / Fraction(str(epsilon))
        return cls(scale, least + math.ceil(float(scale) * math.log(histograms / DELTA)))

    def on(self, counts: Sequence[int]) -> list[int]:
        """The counts with noise; they may be below 0."""
        return [count + discrete_laplace(self.scale) for count in counts]

    def on_one(self, count: int) -> int:
        """One count with noise, 0 at least."""
        return max(0, *self.on([count]))

    def on_sum(self, values: Values, most: float) -> float:
        """The sum of values −most..most with noise: each is first a whole number of `UNITS` parts of `most`.

        So one row changes the whole sum by `UNITS` at most, without an error of floating-point numbers.
        """
        parts = sum(map(int, np.round(values / most * UNITS).tolist()))
        return (parts + discrete_laplace(self.scale * UNITS)) / UNITS * most

    def on_cells(self, counts: Counts) -> Counts:
        """Counts of neighbouring cells with noise, 0 or more.

        Their sums up to each cell are the increasing ones nearest to the noisy ones: to clip each count would add rows.
        """
        from sklearn.isotonic import isotonic_regression

        sums = np.cumsum(np.array(self.on(counts.tolist()), np.float64))
        increasing = np.maximum(np.round(isotonic_regression(sums)), 0)
        return np.asarray(np.diff(increasing, prepend=0), np.int64)
