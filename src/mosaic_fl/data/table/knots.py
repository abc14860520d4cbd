"""The knots of a column of numbers: quantiles of its values, rounded, with a few rows beyond the outermost."""

import math

import numpy as np
import numpy.typing as npt

from mosaic_fl.data.table.values import Values

KNOTS = 33  # quantiles that a draft takes
DIGITS = 3  # of a rounded knot
MOST_PLACES = 30
Counts = npt.NDArray[np.int64]


def quantile_knots(values: Values, least: int, *, whole: bool) -> tuple[float, ...]:
    """The knots of n values: see `weighted_knots`."""
    different, counts = np.unique(values, return_counts=True)
    return weighted_knots(different, counts, least, whole=whole)


def weighted_knots(different: Values, counts: Counts, least: int, *, whole: bool) -> tuple[float, ...]:
    """Rounded quantiles, each once, in order, of increasing values that occur so often.

    At least `least` rows lie on each side of all of them. Where one value is so frequent that most quantiles are alike,
    as 0 often is, the quantiles of the others come beside them. Where even then there is one alone, those values that
    `least` rows have take their place. Fewer than two are useless.
    """
    if counts.sum() < 2 * least + 2:
        return ()
    quantiles = _quantiles(different, counts, least)
    if len(np.unique(quantiles)) < KNOTS / 2:
        others = np.arange(len(different)) != counts.argmax()
        quantiles = np.sort(np.concatenate([quantiles, _quantiles(different[others], counts[others], least)]))
    knots = _rounded(quantiles, whole=whole)
    return knots if len(knots) > 1 else _rounded(different[counts >= least], whole=whole)


def _quantiles(different: Values, counts: Counts, least: int) -> Values:
    """Quantiles of such values, none where there are too few; `least` rows lie on each side of all of them."""
    total = int(counts.sum())
    if total < 2 * least + 2:
        return different[:0]
    ranks = np.linspace(least, total - 1 - least, KNOTS).round().astype(int)
    return np.asarray(different[np.searchsorted(np.cumsum(counts), ranks, "right")], np.float64)


def _rounded(values: Values, *, whole: bool) -> tuple[float, ...]:
    """Ordered values, each once, rounded to three digits, or to the third digit of their range where that is finer."""
    spread = float(values[-1] - values[0]) if len(values) else 0.0
    rounded = [_round(value, max(_places(spread), _places(value)), whole=whole) for value in values.tolist()]
    return tuple(float(f"{value:.7g}") for value in np.unique(np.asarray(rounded, np.float32)).tolist())


def _places(value: float) -> int:
    """The decimal places of a value's third digit."""
    return DIGITS - 1 - math.floor(math.log10(abs(value))) if value else -MOST_PLACES


def _round(value: float, places: int, *, whole: bool) -> float:
    return round(value, min(places, 0 if whole else MOST_PLACES))
