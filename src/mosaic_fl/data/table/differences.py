"""The differences between a site's table and the schema of all sites, each with what to do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.labels import in_classes
from mosaic_fl.data.names import listing
from mosaic_fl.data.table.draft import copy_remark
from mosaic_fl.data.table.frame import Frame, texts
from mosaic_fl.data.table.rows import FAR, beyond, far_text, is_foreign, labels_of, table_of
from mosaic_fl.data.table.values import ColumnValues, parse_column
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.table import Column, Table
from mosaic_fl.errors import UsageError

FEWEST = 2  # rows that a client needs


@dataclass(frozen=True)
class Difference:
    """One difference in words; with `fatal` the data cannot be used as they are."""

    text: str
    fatal: bool = False


def differences(frame: Frame, schema: Schema, reading: ReadingConfig) -> list[Difference]:
    """All differences of a frame from `schema`; the column of labels is that of `reading`, else the schema's."""
    table = table_of(schema)
    label = reading.label_column or table.label
    found = [*label_differences(frame, schema.classes, label, table), *table_differences(frame, table)]
    known = {*(column.name for column in table.columns), label}
    if more := [name for name in frame.columns if name not in known]:
        found.append(Difference(f"columns that the schema does not have are not read: {listing(more, 10)}"))
    return found


def table_differences(frame: Frame, table: Table) -> list[Difference]:
    """The differences of a frame's columns from those of `table`."""
    found = list[Difference]()
    parts = list[ColumnValues]()
    for column in table.columns:
        if column.name not in frame.columns:
            found.append(_lacking(frame, column))
            continue
        part = parse_column(frame, column, table)
        parts.append(part)
        found += _of_column(frame, part)
    if parts:
        empty = int(np.isnan(np.stack([part.values for part in parts])).all(0).sum())
        if empty:
            found.append(Difference(f"{empty} row{'s' * (empty > 1)} without a value in any column: left out"))
    return found


def label_differences(frame: Frame, classes: Sequence[str], label: str, table: Table | None) -> Iterator[Difference]:
    """The differences of the column `label` from these classes, and its relation to the columns of `table`."""
    columns = [column.name for column in table.columns] if table else []
    if label in columns:
        yield Difference(f"column {label!r} is the label and a feature: take it out of one of them", True)
    try:
        labels = labels_of(frame, frame.label_column(label), table.missing if table else ())
        numbers, _ = in_classes(labels, classes, frame.place, frame.source)
    except UsageError as error:
        yield Difference(str(error), True)
        return
    if len(frame) < FEWEST:
        yield Difference(f"{frame.source} has one row: there is nothing to learn from", True)
    counts = np.bincount(numbers, minlength=len(classes))
    if lacks := [name for name, count in zip(classes, counts, strict=True) if not count]:
        yield Difference(f"no row of the class {listing(lacks, 10)}: other sites may have some")
    for name in columns:
        if name in frame.columns and (remark := copy_remark(frame.columns[name], frame.columns[label])):
            yield Difference(f"column {name!r}: {remark}")


def _lacking(frame: Frame, column: Column) -> Difference:
    if column.missing:
        return Difference(f"no column {column.name!r}: all its values count as missing")
    return Difference(
        f"no column {column.name!r}, which is never missing by the schema: name it so in the file, or all sites write "
        "missing = true for it, or leave it out",
        True,
    )


def _of_column(frame: Frame, part: ColumnValues) -> Iterator[Difference]:
    column = part.column
    name = f"column {column.name!r}"
    cells = texts(frame.columns[column.name])
    if part.wrong.any():
        yield Difference(
            f"{name} is {column.type}, and {_rows(part.wrong)} something else, as {cells[part.wrong][0][:40]!r}",
            True,
        )
    if part.unseen.any():
        unseen = sorted(set(cells[part.unseen].tolist()))
        way = "they count as missing" if column.missing else "add them at all sites, or write missing = true"
        if is_foreign(part):
            way = "these are all its values: write them as the schema does"
        yield Difference(
            f"{name}: {_rows(part.unseen)} categories that the schema does not have ({listing(unseen, 5)}): {way}",
            not column.missing or is_foreign(part),
        )
    if part.absent.any() and not column.missing:
        yield Difference(
            f"{name} is never missing by the schema, and {_rows(part.absent)} no value: write missing = true for "
            "it at all sites, or leave those rows out",
            True,
        )
    present = part.values[~np.isnan(part.values)]
    if beyond(part) > FAR:
        yield Difference(far_text(part, frame.source))
    if len(present) > 1 and len(np.unique(present)) == 1:
        yield Difference(f"{name} is constant here")
    if not len(present):
        yield Difference(f"{name} has no value here")


def _rows(mask: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> str:
    count = int(mask.sum())
    return f"{count} row has" if count == 1 else f"{count} rows have"
