"""Cells of a table -> values at rest, by the schema's columns. What cannot be a value is told with its row."""

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mosaic_fl.data.table.frame import Cells, Frame, Mask, missing_mask, number, number_text, per_value, texts
from mosaic_fl.domains.table import Column, Table
from mosaic_fl.domains.table.column import MAX_NUMBER, NUMBERS
from mosaic_fl.domains.table.kind import COMMA, POINT
from mosaic_fl.errors import MAX_NEAR, UsageError, excerpt

TRUTH = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0, "y": 1.0, "n": 0.0, "t": 1.0, "f": 0.0, "1": 1.0, "0": 0.0}
"""The words of a truth value, in lower case."""
MOST_CELL = 40  # characters of a cell in an error
Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ColumnValues:
    """The values (n,) of one column, NaN where there is none; `absent` says where the cell is missing.

    `wrong` says where a cell is no value of the column, and `unseen` where it is a category that the schema does not
    have.
    """

    column: Column
    values: Values
    absent: Mask
    wrong: Mask
    unseen: Mask

    @property
    def refused(self) -> Mask:
        """Which rows cannot be read: a missing value or unseen category counts where none may be missing."""
        return self.wrong if self.column.missing else self.wrong | self.absent | self.unseen


@dataclass(frozen=True)
class Parsed:
    """A table's values at rest, float32 (n, D), also by `columns`.

    `errors` has the reason for each row with a cell that cannot be read. `empty` says which rows have no value at all.
    """

    values: npt.NDArray[np.float32]
    columns: tuple[ColumnValues, ...]
    errors: dict[int, str]
    empty: Mask


def parse(frame: Frame, table: Table, rows: Mask | None = None) -> Parsed:
    """The rows of a frame as the `table` says; raises UsageError where it lacks a column that is never missing.

    `rows` says which rows are read, bool (n,): others have no error, and their values have no meaning.
    """
    require_columns(frame, table)
    columns = tuple(parse_column(frame, column, table) for column in table.columns)
    errors = dict[int, str]()
    for part in columns:
        for row in np.flatnonzero(part.refused if rows is None else part.refused & rows).tolist():
            errors.setdefault(row, f"{frame.place(row)} has {_reason(frame, part, row, table.decimal)}")
    values = np.stack([part.values for part in columns], 1).astype(np.float32)
    return Parsed(values, columns, errors, np.asarray(np.isnan(values).all(1)))


def why_no_answer(frame: Frame, parsed: Parsed, row: int) -> str:
    """The reason why no model answers for a row; "" where one does."""
    if row in parsed.errors:
        return parsed.errors[row]
    return f"{frame.place(row)} has no value in any column" if parsed.empty[row] else ""


def require_columns(frame: Frame, table: Table) -> None:
    """Raise UsageError where a frame lacks a column that is never missing."""
    lacks = [column.name for column in table.columns if column.name not in frame.columns and not column.missing]
    if lacks:
        more = f" and {len(lacks) - 1} more" if len(lacks) > 1 else ""
        names = {column.name for column in table.columns}
        near = nearest(lacks[0], [name for name in frame.columns if name not in names])
        more += f" (did you mean {near}?)" * bool(near)
        raise UsageError(
            f"{frame.source} has no column {lacks[0]!r}{more}, which the schema says is never missing: name it so in "
            "the file, or all sites write missing = true for it in their schema, or leave it out there"
        )


def nearest(name: str, unread: Sequence[str]) -> str:
    """The column among those `unread` whose name is nearest to a lacking one, in any case; "" where none is near."""
    folded = {other[:MAX_NEAR].casefold(): other for other in unread}
    near = difflib.get_close_matches(name[:MAX_NEAR].casefold(), folded, n=1, cutoff=0.75)
    return folded[near[0]] if near else ""


def parse_column(frame: Frame, column: Column, table: Table) -> ColumnValues:
    """The values of one column of a `table`; a frame that lacks it has missing values only."""
    n = len(frame)
    nowhere = np.zeros(n, np.bool_)
    if column.name not in frame.columns:
        return ColumnValues(column, np.full(n, np.nan), ~nowhere, nowhere, nowhere)
    cells = frame.columns[column.name]
    absent = missing_mask(cells, table.missing)
    if column.type == "category":
        values = _codes(cells, column, table.decimal)
        return ColumnValues(column, values, absent, nowhere, np.isnan(values) & ~absent)
    values = numbers(cells, table.decimal) if column.type in NUMBERS else _truths(cells, table.decimal)
    values[absent] = np.nan
    wrong = ~absent & ~(np.abs(values) <= MAX_NUMBER)
    if column.type == "whole":
        wrong |= ~absent & (values != np.round(values))
    values[wrong] = np.nan
    return ColumnValues(column, values, absent, wrong, nowhere)


def numbers(cells: Cells, decimal: str = POINT) -> Values:
    """Cells as numbers; NaN where one is none.

    Where `decimal` is a comma, a column without any may have points instead. Where one cell has a comma, a cell with a
    point is no number: there a point would stand between thousands.
    """
    if cells.dtype != object:
        return cells.copy()
    strict = decimal == COMMA and any("," in cell for cell in set(cells.tolist()))

    def read(text: str) -> float:
        return math.nan if strict and "." in text else number(text, decimal)

    return np.array(per_value(cells, read), np.float64)


def _truths(cells: Cells, decimal: str) -> Values:
    def truth(text: str) -> float:
        return TRUTH.get(text.casefold(), TRUTH.get(_plain(text, decimal), math.nan))

    return np.array(per_value(texts(cells), truth), np.float64)


def _codes(cells: Cells, column: Column, decimal: str) -> Values:
    """The codes of the categories; NaN for a text that is none of them. 3.0 is the category 3."""
    codes = {category: float(code) for code, category in enumerate(column.categories)}

    def code(text: str) -> float:
        return codes.get(text, codes.get(_plain(text, decimal), math.nan))

    return np.array(per_value(texts(cells), code))


def _plain(text: str, decimal: str) -> str:
    return number_text(number(text, decimal))


def _reason(frame: Frame, part: ColumnValues, row: int, decimal: str) -> str:
    """What a row has that cannot be read, and the way out."""
    column = part.column
    name = f"column {column.name!r}"
    if part.absent[row]:
        return (
            f"no value in {name}, which is never missing by the schema: all sites write missing = true for it in their "
            "schema, or you leave the row out"
        )
    text = str(texts(frame.columns[column.name][row : row + 1])[0])
    cell = excerpt(text, MOST_CELL)
    if part.unseen[row]:
        return (
            f"{cell} in {name}, a category that the schema does not have: all sites add it to theirs, or write missing "
            "= true for the column, which leaves it open"
        )
    return f"{cell} in {name}, which is {column.type}: {_way(column, text, decimal)}"


def _way(column: Column, text: str, decimal: str) -> str:
    """What to write instead of a text that is no value of a column."""
    if decimal == POINT and "," in text and not math.isnan(number(text, COMMA)):
        return 'write a point, as in 1.5, or all sites write decimal = "," in their schema'
    if decimal == COMMA and "." in text:
        return "write a comma, as in 1,5, as in other rows of this file"
    form = {"boolean": "true or false", "whole": "a whole number"}.get(column.type)
    form = form or ("a number, with a point as in 1.5" if decimal == POINT else "a number, with a comma as in 1,5")
    return f"write {form}, or add the word to missing = […] of the schema"
