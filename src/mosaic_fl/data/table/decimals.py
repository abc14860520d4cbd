"""The sign before the decimals of numbers that are text: a comma in much of Europe, a point elsewhere."""

import re
from collections.abc import Collection, Sequence

import numpy as np

from mosaic_fl.data.table.frame import Cells, Frame, missing_mask, number
from mosaic_fl.data.table.values import numbers
from mosaic_fl.domains.table.kind import COMMA, POINT

GROUPED = re.compile(r"[+-]?\d{1,3}([.,'’\u00a0\u202f ]\d{3})+([.,]\d+)?")
"""A number with signs between its thousands, or what may be one: 1,234 is 1.234 with a decimal comma."""


def decimal_sign(frame: Frame, names: Collection[str], missing: Sequence[str]) -> str:
    """A comma where all values of one of these columns are numbers with decimal commas alone; else a point.

    A column in which each comma could stand between thousands says nothing.
    """
    for name in names:
        cells = frame.columns[name]
        if cells.dtype != object:
            continue
        present = cells[~missing_mask(cells, missing)]
        commas = {text for text in present.tolist() if "," in text}
        if all(map(GROUPED.fullmatch, commas)):  # of none, too
            continue
        if not np.isnan(numbers(present, COMMA)).any():
            return COMMA
    return POINT


def has_thousands(present: Cells, decimal: str) -> bool:
    """Whether all these cells are numbers, and some have signs that may stand between thousands."""
    strange = [text for text in set(present.tolist()) if np.isnan(number(text, decimal))]
    return bool(strange) and all(map(GROUPED.fullmatch, strange))
