"""The column of a schema that a site's values suggest, or the reason why they should be no feature."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mosaic_fl.data.names import in_order
from mosaic_fl.data.table.frame import Cells, Mask, texts
from mosaic_fl.data.table.values import TRUTH, Values, numbers
from mosaic_fl.domains.schema import is_plain
from mosaic_fl.domains.table import Column
from mosaic_fl.domains.table.column import MAX_CATEGORIES, MAX_NUMBER

KNOTS = 33  # quantiles that a draft takes
DIGITS = 3  # of a rounded knot
MOST_PLACES = 30
FEW = 20  # rows below which values that are all different say nothing
WORDS = 4.0  # mean number of words from which on a text is free
DAY = r"\d{4}[-/.]\d{1,2}([-/.]\d{1,2})?|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2})"
CLOCK = r"\d{1,2}:\d{2}(:\d{2})?.{0,12}"
DATE = re.compile(rf"({DAY})([T ]{CLOCK})?|{CLOCK}")
ID_NAME = re.compile(r"(.*[_\W])?(id|index|rowid|uuid|nr|number)|[a-z]+I[Dd]|unnamed.*", re.IGNORECASE)


@dataclass(frozen=True)
class LeftOut:
    """The reason why a column is no feature in a draft, with what to do."""

    reason: str


@dataclass(frozen=True)
class Guess:
    """A drafted column, and what a user should know about it ("" for nothing)."""

    column: Column
    remark: str = ""


def guess(name: str, cells: Cells, absent: Mask, least: int) -> Guess | LeftOut:
    """The column `name` of these cells, in which `least` rows at least stand behind each value.

    `absent` says which cells are missing.
    """
    present = cells[~absent]
    different = len(set(present.tolist()))
    if not different:
        return LeftOut("it is empty")
    if different == 1:
        return LeftOut("it is constant: it says nothing here; write it by hand if it differs between sites")
    missing = bool(absent.any())
    values = numbers(present)
    if set(values.tolist()) == {0.0, 1.0} or _is_truth(present):
        return Guess(Column(name, "boolean", missing=missing))
    if not np.isnan(values).any():
        return _of_numbers(name, values, missing, least)
    return _of_texts(name, [str(text) for text in present], missing, least)


def _is_truth(present: Cells) -> bool:
    """Whether cells are one word for true and one for false, as yes and no."""
    words = {text.casefold() for text in texts(present).tolist()}
    return len(words) == 2 and {TRUTH.get(word) for word in words} == {0.0, 1.0}


def _of_numbers(name: str, values: Values, missing: bool, least: int) -> Guess | LeftOut:
    if not bool((np.abs(values) <= MAX_NUMBER).all()):
        return LeftOut("it has values beyond ±1e30, or infinite ones: leave those cells empty")
    whole = bool((values == np.round(values)).all())
    if whole and _is_count(name, values):
        return LeftOut("it counts the rows: an id says nothing about other rows")
    knots = quantile_knots(values, least, whole=whole)
    if len(knots) < 2:
        return LeftOut(
            f"too few of its values have {least} rows behind them: write low, high and knots by hand, or lower "
            "--least-rows"
        )
    kind = "whole" if whole else "numeric"
    return Guess(Column(name, kind, low=knots[0], high=knots[-1], knots=knots, missing=missing))


def quantile_knots(values: Values, least: int, *, whole: bool) -> tuple[float, ...]:
    """Rounded quantiles of n values, each once, in order; `least` values at least lie on each side of all of them.

    Where one value is so frequent that most quantiles are alike, as 0 often is, the quantiles of the others come beside
    them. Where even then there is one alone, those values that `least` rows have take their place. Fewer than two are
    useless.
    """
    ordered = np.sort(values)
    if len(ordered) < 2 * least + 2:
        return ()
    quantiles = _quantiles(ordered, least)
    different, counts = np.unique(ordered, return_counts=True)
    if len(np.unique(quantiles)) < KNOTS / 2:
        others = ordered[ordered != different[counts.argmax()]]
        quantiles = np.sort(np.concatenate([quantiles, _quantiles(others, least)]))
    knots = _rounded(quantiles, whole=whole)
    return knots if len(knots) > 1 else _rounded(different[counts >= least], whole=whole)


def _quantiles(ordered: Values, least: int) -> Values:
    """Quantiles of ordered values, none where there are too few; `least` lie on each side of all of them."""
    if len(ordered) < 2 * least + 2:
        return ordered[:0]
    ranks = np.linspace(least, len(ordered) - 1 - least, KNOTS).round().astype(int)
    return np.asarray(ordered[ranks], np.float64)


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


def _is_count(name: str, values: Values) -> bool:
    """Whether whole numbers are the rows' numbers or ids: all different, and counting up or called an id."""
    if len(values) < FEW or len(np.unique(values)) < len(values):
        return False
    return bool((np.diff(values) == 1).all()) or ID_NAME.fullmatch(name) is not None


def _of_texts(name: str, present: Sequence[str], missing: bool, least: int) -> Guess | LeftOut:
    counts = Counter(present)
    if all(DATE.fullmatch(text) for text in counts):
        return LeftOut("it holds dates or times: write a column with an age, a duration or a month instead")
    if len(counts) == len(present) >= FEW:
        return LeftOut("each row has a text of its own: an id or a name says nothing about other rows")
    mean_words = sum(len(text.split()) * count for text, count in counts.items()) / len(present)
    if (len(present) >= FEW and (mean_words > WORDS or len(counts) > len(present) / 2)) or len(counts) > MAX_CATEGORIES:
        return LeftOut("it is free text: write a column with the categories that it speaks of")
    numeric = sum(count for text, count in counts.items() if not np.isnan(numbers(np.array([text], object))[0]))
    common = in_order(text for text, count in counts.items() if count >= least and is_plain(text))
    rare = {text: count for text, count in counts.items() if text not in common}
    if not common:
        return LeftOut(f"none of its categories has {least} rows: lower --least-rows, or write them by hand")
    column = Column(name, "category", categories=common, missing=missing or bool(rare))
    remarks = []
    if rare:
        rows = sum(rare.values())
        remarks.append(
            f"{len(rare)} categor{'ies' if len(rare) > 1 else 'y'} with fewer than {least} rows left out: "
            f"{rows} row{'s count' if rows > 1 else ' counts'} as missing; add those by hand that all sites may know"
        )
    if numeric > len(present) / 2:
        remarks.append(
            "most of its values are numbers: for a column of numbers add the other words to missing = […], and draft "
            "again with --missing"
        )
    return Guess(column, "; ".join(remarks))
