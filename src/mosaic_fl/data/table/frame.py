"""A table before it has a schema: named columns of texts or of numbers, from a file or from a user's memory."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mosaic_fl.data.names import listing
from mosaic_fl.data.rows import choose_column
from mosaic_fl.domains.table.kind import COMMA, POINT
from mosaic_fl.errors import UsageError

Cells = npt.NDArray[Any]
"""A column's n cells: float64 with NaN for a missing one, or text as objects with "" for a missing one."""
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Frame:
    """`columns` by name, each of the same length; `lines` are the rows' lines in a text file, empty elsewhere.

    `rows` are the rows' numbers in the source, where they are not 0, 1, 2, ….
    Raises UsageError for columns of different lengths, and for a table without rows.
    """

    source: str
    columns: Mapping[str, Cells]
    lines: Sequence[int] = ()
    rows: Sequence[int] = ()

    def __post_init__(self) -> None:
        lengths = {name: len(cells) for name, cells in self.columns.items()}
        if len(set(lengths.values())) > 1:
            raise UsageError(f"the columns of {self.source} have different lengths: {lengths}")
        if not len(self):
            raise UsageError(f"{self.source} has no rows")

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def place(self, row: int) -> str:
        """The line or row of a sample, for an error."""
        if self.lines:
            return f"line {self.lines[row]} of {self.source}"
        return f"row {self.rows[row] if self.rows else row} of {self.source}"

    def column(self, name: str) -> Cells:
        """The cells of a column; raises UsageError, with the nearest names, where there is none of that name."""
        if name not in self.columns:
            raise UsageError(f"{self.source} has no column {name!r}; it has {listing(list(self.columns), 30)}")
        return self.columns[name]

    def at(self, chosen: npt.NDArray[Any]) -> "Frame":
        """The rows of these numbers or truth values, in this order."""
        numbers = np.arange(len(self))[chosen]
        lines = [self.lines[row] for row in numbers.tolist()] if self.lines else ()
        rows = [self.rows[row] for row in numbers.tolist()] if self.rows else numbers.tolist()
        return Frame(self.source, {name: cells[numbers] for name, cells in self.columns.items()}, lines, rows)

    def without(self, names: Collection[str]) -> "Frame":
        """The frame without these columns."""
        columns = {name: cells for name, cells in self.columns.items() if name not in names}
        return replace(self, columns=columns)

    def label_column(self, name: str) -> str:
        """The column of labels `name`; raises UsageError where that is none."""
        if not name:
            raise UsageError(f"say which column of {self.source} has the classes: --label-column NAME")
        return choose_column(list(self.columns), name, (), "--label-column", self.source)


def join(parts: Sequence[Frame], source: str) -> Frame:
    """The rows of several files of one data set; raises UsageError where their columns differ."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    for part in parts[1:]:
        if part.columns.keys() != first.columns.keys():
            different = sorted(part.columns.keys() ^ first.columns.keys())
            raise UsageError(f"{first.source} and {part.source} differ in the columns {listing(different)}")
    columns = {name: _joined([part.columns[name] for part in parts]) for name in first.columns}
    return Frame(source, columns)


def _joined(parts: Sequence[Cells]) -> Cells:
    if len({part.dtype for part in parts}) == 1:
        return np.concatenate(parts)
    return np.concatenate([texts(part) for part in parts])


def texts(cells: Cells) -> Cells:
    """The cells as text: a whole number without a point, a missing one as ""."""
    if cells.dtype == object:
        return cells
    return np.array([number_text(value) for value in cells.tolist()], object)


def number_text(value: float) -> str:
    """A number as text: "3" for 3.0, "" for NaN."""
    if value != value:
        return ""
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(value)


def number(text: str, decimal: str = POINT) -> float:
    """A text as a number; NaN where it is none, as 1_000 or inf, and 1,5 unless `decimal` is a comma."""
    if decimal == COMMA and "." not in text:
        text = text.replace(",", ".")
    try:
        value = float(text) if "_" not in text else math.nan
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def missing_mask(cells: Cells, words: Sequence[str]) -> Mask:
    """Which cells are missing: NaN, empty, or one of these `words` in any case; of numbers, too, as -9."""
    if cells.dtype != object:
        return np.isnan(cells) | np.isin(cells, [number(word) for word in words])
    folded = {"", *(word.strip().casefold() for word in words)}
    return np.array([cell.casefold() in folded for cell in cells.tolist()], np.bool_)


def per_value(cells: Cells, change: Callable[[str], Any]) -> list[Any]:
    """`change` of each cell of text; of cells that are alike it is called once."""
    known = {cell: change(cell) for cell in set(cells.tolist())}
    return [known[cell] for cell in cells.tolist()]
