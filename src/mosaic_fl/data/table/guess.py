"""The column of a schema that a site's values suggest, or the reason why they should be no feature."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mosaic_fl.data.names import in_order
from mosaic_fl.data.table.decimals import has_thousands
from mosaic_fl.data.table.frame import Cells, Mask, number, texts
from mosaic_fl.data.table.knots import quantile_knots
from mosaic_fl.data.table.values import TRUTH, Values, numbers
from mosaic_fl.domains.schema import is_plain
from mosaic_fl.domains.table import Column
from mosaic_fl.domains.table.column import MAX_CATEGORIES, MAX_NUMBER
from mosaic_fl.domains.table.kind import POINT

FEW = 20  # rows below which values that are all different say nothing
WORDS = 4.0  # mean number of words from which on a text is free
DAY = r"\d{4}[-/.]\d{1,2}([-/.]\d{1,2})?|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2})"
CLOCK = r"\d{1,2}:\d{2}(:\d{2})?.{0,12}"
DATE = re.compile(rf"({DAY})([T ]{CLOCK})?|{CLOCK}")
ID_NAME = re.compile(r"(.*[_\W])?(id|index|rowid|uuid|nr|number)|[a-z]+I[Dd]|unnamed.*", re.IGNORECASE)


REASONS = {
    "empty": "it is empty",
    "constant": "it is constant: it says nothing here; write it by hand if it differs between sites",
    "large": "it has values beyond ±1e30, or infinite ones: leave those cells empty",
    "id": "it counts the rows: an id says nothing about other rows",
    "name": "each row has a text of its own: an id or a name says nothing about other rows",
    "date": "it holds dates or times: write a column with an age, a duration or a month instead",
    "text": "it is free text: write a column with the categories that it speaks of",
    "thousands": "its numbers have signs that may stand between thousands: write 1234.5 for 1,234.5 or 1.234,5",
}
"""Why a column is no feature in a draft, with what to do."""


@dataclass(frozen=True)
class LeftOut:
    """A column that is no feature in a draft, for the `reason`; `kind` is one of `REASONS`, or "few"."""

    kind: str
    reason: str


@dataclass(frozen=True)
class Guess:
    """A drafted column, and what a user should know about it ("" for nothing)."""

    column: Column
    remark: str = ""


def guess(name: str, cells: Cells, absent: Mask, least: int, decimal: str = POINT) -> Guess | LeftOut:
    """The column `name` of these cells, in which `least` rows at least stand behind each value.

    `absent` says which cells are missing, and `decimal` is the sign before decimals.
    """
    present = cells[~absent]
    if len(set(present.tolist())) == 1:
        return _left_out("constant")
    kind = type_of(name, present, decimal)
    missing = bool(absent.any())
    if isinstance(kind, LeftOut):
        return kind
    if kind == "boolean":
        return Guess(Column(name, kind, missing=missing))
    if kind == "category":
        return _of_texts(name, present.tolist(), missing, least, decimal)
    return _of_numbers(name, kind, numbers(present, decimal), missing, least)


def type_of(name: str, present: Cells, decimal: str) -> str | LeftOut:
    """The type of a column of these values, of which none is missing, or the reason why it should be no feature."""
    if not len(present):
        return _left_out("empty")
    values = numbers(present, decimal)
    if set(values.tolist()) == {0.0, 1.0} or _is_truth(present):
        return "boolean"
    if np.isnan(values).any():
        return _type_of_texts(present, decimal)
    if not bool((np.abs(values) <= MAX_NUMBER).all()):
        return _left_out("large")
    if not bool((values == np.round(values)).all()):
        return "numeric"
    return _left_out("id") if _is_count(name, values) else "whole"


def _left_out(kind: str) -> LeftOut:
    return LeftOut(kind, REASONS[kind])


def _type_of_texts(present: Cells, decimal: str) -> str | LeftOut:
    counts = Counter(present.tolist())
    if has_thousands(present, decimal):
        return _left_out("thousands")
    if all(DATE.fullmatch(text) for text in counts):
        return _left_out("date")
    if len(counts) == len(present) >= FEW:
        return _left_out("name")
    mean_words = sum(len(text.split()) * count for text, count in counts.items()) / len(present)
    if (len(present) >= FEW and (mean_words > WORDS or len(counts) > len(present) / 2)) or len(counts) > MAX_CATEGORIES:
        return _left_out("text")
    return "category"


def _is_truth(present: Cells) -> bool:
    """Whether cells are one word for true and one for false, as yes and no."""
    words = {text.casefold() for text in texts(present).tolist()}
    return len(words) == 2 and {TRUTH.get(word) for word in words} == {0.0, 1.0}


def _of_numbers(name: str, kind: str, values: Values, missing: bool, least: int) -> Guess | LeftOut:
    knots = quantile_knots(values, least, whole=kind == "whole")
    if len(knots) < 2:
        return LeftOut(
            "few",
            f"too few of its values have {least} rows behind them: write low, high and knots by hand, or lower "
            "--least-rows",
        )
    return Guess(Column(name, kind, low=knots[0], high=knots[-1], knots=knots, missing=missing))


def _is_count(name: str, values: Values) -> bool:
    """Whether whole numbers are the rows' numbers or ids: all different, and counting up or called an id."""
    if len(values) < FEW or len(np.unique(values)) < len(values):
        return False
    return bool((np.diff(values) == 1).all()) or ID_NAME.fullmatch(name) is not None


def _of_texts(name: str, present: Sequence[str], missing: bool, least: int, decimal: str) -> Guess | LeftOut:
    counts = Counter(present)
    numeric = sum(count for text, count in counts.items() if not math.isnan(number(text, decimal)))
    common = in_order(text for text, count in counts.items() if count >= least and is_plain(text))
    rare = {text: count for text, count in counts.items() if text not in common}
    if not common:
        return LeftOut("few", f"none of its categories has {least} rows: lower --least-rows, or write them by hand")
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
