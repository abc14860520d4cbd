"""A text file that holds a table, one row a line, below a header line with the names of its columns.

It is read with Python's own `csv`, which keeps every cell as it is written ("01") and knows the line of an error.
"""

import csv
import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mosaic_fl.data.text import read_text
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import note

CSV_SUFFIXES = {".csv", ".tsv"}
MOST_BYTES = 2**28  # of a table, millions of lines
_DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class Delimited:
    """The named columns of a file, and its lines: (number in the file, cells)."""

    columns: list[str]
    lines: list[tuple[int, list[str]]]

    def cells(self, column: str) -> list[str]:
        """The cells of the column of that name."""
        index = self.columns.index(column)
        return [cells[index] for _, cells in self.lines]


def read_header(file: Path) -> list[str]:
    """The names in the header line of a text file with a table; raises UsageError for one that has none."""
    return _names(file, next(_lines(file, *_text(file)), None))


def read_delimited(file: Path) -> Delimited:
    """The table in a text file, UTF-8 or UTF-16, whose header line shows the separator (comma, semicolon, tab, bar).

    A line of separators alone is a row of empty cells. Raises UsageError for a file that is no text, has no rows, or
    has a line with fewer or more cells than the header.
    """
    lines = list(_lines(file, *_text(file)))
    header = _names(file, lines[0] if lines else None)
    if len(lines) == 1:
        raise UsageError(f"{file} has no rows")
    empty = [""] * len(header)
    rows = [(number, empty if _is_empty(cells) else cells) for number, cells in lines[1:]]
    for number, cells in rows:
        if len(cells) < len(header) or any(cell.strip() for cell in cells[len(header) :]):
            raise UsageError(
                f"line {number} of {file} has {len(cells)} cells, and the header {len(header)}: put a cell with a "
                "separator in it into quotes"
            )
    return Delimited(header, rows)


def without_empty(file: Path, table: Delimited) -> Delimited:
    """The table without the lines of separators alone, which a note counts; raises UsageError without others."""
    lines = [(number, cells) for number, cells in table.lines if not _is_empty(cells)]
    if not lines:
        raise UsageError(f"{file} has no rows")
    if count := len(table.lines) - len(lines):
        note(f"{count} line{'s' * (count > 1)} of {file} without any value: left out")
    return Delimited(table.columns, lines)


def _is_empty(cells: list[str]) -> bool:
    return not any(cell.strip() for cell in cells)


def _names(file: Path, line: tuple[int, list[str]] | None) -> list[str]:
    if line is None:
        raise UsageError(f"{file} is empty: write a header line, as file,label")
    return [" ".join(name.split()) for name in line[1]]


def _text(file: Path) -> tuple[str, int, str]:
    """(the text of a file, the number of lines before its header, the separator of cells)."""
    text = read_text(file, MOST_BYTES).replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in text:
        raise UsageError(f"{file} is no text: it has a zero byte")
    try:
        return text, *_dialect(text)
    except csv.Error as error:
        raise UsageError(f"the header line of {file} is no line of a table: {error}") from error


def _dialect(text: str) -> tuple[int, str]:
    """The number of lines before the header, and the separator of cells."""
    first, _, body = text.partition("\n")
    if first.strip().lower().startswith("sep=") and len(first.strip()) == 5:  # as Excel writes it
        return 1, first.strip()[-1]
    if first.strip().lower() == "sep=":  # the separator is a tab, which `strip` removed
        return 1, "\t"
    header = first if first.strip() else next((line for line in body.splitlines() if line.strip()), "")
    widths = {sign: len(next(csv.reader([header], delimiter=sign), [])) for sign in _DELIMITERS}
    return 0, max(_DELIMITERS, key=lambda sign: widths[sign])


def _lines(file: Path, text: str, start: int, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The header and the lines below it that are not blank, each with its number; separators alone are a line."""
    last = ""

    def source() -> Iterator[str]:
        nonlocal last
        for line in itertools.islice(io.StringIO(text), start, None):
            last = line
            yield line

    reader = csv.reader(source(), delimiter=delimiter, skipinitialspace=True, strict=True)
    below = False
    try:
        for cells in reader:
            below = below or not _is_empty(cells)
            if below and (len(cells) > 1 or last.strip()):  # "" in quotes is a cell
                yield reader.line_num + start, cells
    except csv.Error as error:
        raise UsageError(f"line {reader.line_num + start} of {file} is no line of a table: {error}") from error
