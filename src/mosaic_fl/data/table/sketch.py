"""A mergeable sketch of a column of numbers: a few of its values, each with the rows up to it.

The sketch of n rows says for each of its points exactly how many rows lie in (the point before, this point], after all
values are rounded to three digits. Between two points fewer than max(n / BINS, least) + 1 rows lie, and fewer than
2 · least beyond the last. So a quantile of the union of several sites' sketches is, in the pooled rows, at most
`most_error` ranks away from the one that was looked for (a mergeable summary: Agarwal et al., PODS 2012).
"""

from collections.abc import Sequence

import numpy as np

from mosaic_fl.data.table.knots import DIGITS, MOST_PLACES, Counts
from mosaic_fl.data.table.values import Values

BINS = 128  # parts of equal mass of a column
CELLS = 64  # parts of equal width of a public range, of which noisy counts are told


def sketch(values: Values, least: int, *, whole: bool) -> tuple[Values, Counts]:
    """The points of n values and the counts (k,), which sum to n; none where the values are too few.

    Each count is at least `least`, and so many rows lie at or beyond each point on both sides, besides its own.
    """
    ordered = np.sort(values)
    if len(ordered) < 2 * least + 2:
        return ordered[:0], np.zeros(0, np.int64)
    spread = float(ordered[-1 - least] - ordered[least])
    different, counts = np.unique(_rounded(ordered, spread, whole=whole), return_counts=True)
    total = len(ordered)
    below = np.cumsum(counts)
    low = int(np.searchsorted(below, least + 1))
    high = int(np.flatnonzero(total - below + counts >= least + 1)[-1])
    if high < low:  # one value has nearly all rows, the others too few
        return different[:0], np.zeros(0, np.int64)
    step = max(-(-total // BINS), least)
    ends = [low]
    while (end := int(np.searchsorted(below, below[ends[-1]] + step))) <= high:
        ends.append(end)
    if below[high] - below[ends[-1]] >= least:
        ends.append(high)
    reached = below[ends]
    reached[-1] = total  # the rows beyond the last point count as its own
    return different[ends], np.diff(reached, prepend=0).astype(np.int64)


def most_error(rows: Sequence[int], least: Sequence[int]) -> int:
    """The most ranks by which a quantile of merged sketches is off, for sites of so many rows and least rows."""
    return sum(max(-(-n // BINS), 2 * few) for n, few in zip(rows, least, strict=True))


def cells_of(low: float, high: float, *, whole: bool) -> Values:
    """The ends of the cells of a public range, increasing: whole numbers where they are few, else of equal width."""
    if whole and high - low <= CELLS:
        return np.arange(np.floor(low), np.ceil(high) + 1)
    return np.linspace(low, high, CELLS + 1)


def histogram(values: Values, ends: Values) -> Counts:
    """The number of values in (the end before, this end]; what lies beyond counts in the outermost cells."""
    places = np.searchsorted(ends, np.clip(values, ends[0], ends[-1]))
    return np.bincount(places, minlength=len(ends)).astype(np.int64)


def _rounded(values: Values, spread: float, *, whole: bool) -> Values:
    """Values to three digits, or to the third digit of their spread where that is finer."""
    places = np.maximum(_places(np.abs(values)), _places(np.array([spread])))
    places = np.minimum(places, 0 if whole else MOST_PLACES)
    fine = 10.0 ** np.maximum(places, 0)
    coarse = 10.0 ** np.maximum(-places, 0)
    return np.asarray(np.round(values * fine / coarse) * coarse / fine, np.float64)


def _places(sizes: Values) -> Values:
    """The decimal places of each value's third digit; values are 0 or more."""
    logs = np.log10(sizes, out=np.full(len(sizes), float(DIGITS - 1 + MOST_PLACES)), where=sizes > 0)
    return np.asarray(DIGITS - 1 - np.floor(logs), np.float64)
