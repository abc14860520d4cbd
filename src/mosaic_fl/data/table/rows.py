"""Labelled rows of a table -> a `Dataset` of a schema of the kind `table`."""

from collections.abc import Sequence

import numpy as np
import torch

from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.labels import Labels, in_classes, parse_labels, read_labels
from mosaic_fl.data.names import listing
from mosaic_fl.data.table.frame import Frame, Mask, missing_mask, texts
from mosaic_fl.data.table.values import MOST_CELL, ColumnValues, nearest, parse
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.table import Table
from mosaic_fl.domains.table.column import NUMBERS
from mosaic_fl.errors import UsageError, excerpt
from mosaic_fl.notes import note

FAR = 0.2  # share of a column's values beyond its range from which on a note asks for the units
LEAST = 20  # values from which on a share of values beyond the range says something
FOREIGN = 5  # values, all unseen categories, from which on a column is refused: fewer may be a rare one
MOST = 5  # columns, or categories, that a note lists


def labels_of(frame: Frame, label: str, missing: Sequence[str]) -> Labels:
    """The labels in the column `label`; raises UsageError for a row without one."""
    cells = frame.column(label)
    absent = np.flatnonzero(missing_mask(cells, missing))
    if len(absent):
        raise UsageError(f"{frame.place(int(absent[0]))} has no label: leave out the rows without one")
    if cells.dtype == object:
        return parse_labels(cells.tolist(), frame.place, frame.source)
    return read_labels(cells, frame.place, frame.source)


def table_of(schema: Schema) -> Table:
    """The kind of the rows; raises UsageError where samples are something else."""
    kind = schema.kind
    if not isinstance(kind, Table):
        raise UsageError(f"samples are {kind.summary}, where rows of a table are needed")
    return kind


def read_rows(frame: Frame, schema: Schema, reading: ReadingConfig, *, drafted: bool = False) -> tuple[Mask, Dataset]:
    """The labelled rows of a frame as samples of `schema`, and which rows these are, bool (n,).

    The column of labels is that of `reading`, else the schema's. Rows without any value are left out with a note. Other
    notes name columns that are not read, categories that count as missing, and ranges far from the schema's, unless it
    was `drafted` from these rows. Raises UsageError, with the first row, for rows that cannot be read.
    """
    table = table_of(schema)
    label = frame.label_column(reading.label_column or table.label)
    if label in {column.name for column in table.columns}:
        raise UsageError(f"column {label!r} is the label and a feature of the schema: take it out of one of them")
    labels = labels_of(frame, label, table.missing)
    numbers, _ = in_classes(labels, schema.classes, frame.place, frame.source)
    tell_unread(frame, table, label)
    parsed = parse(frame, table)
    if errors := parsed.errors:
        more = f" ({len(errors):,} rows cannot be read)" if len(errors) > 1 else ""
        raise UsageError(f"{errors[min(errors)]}{more}")
    require_seen(frame, parsed.columns)
    if parsed.empty.any():
        count = int(parsed.empty.sum())
        note(f"{count} of the {len(frame)} rows of {frame.source} have no value in any column: left out")
    for part in () if drafted else parsed.columns:
        tell_far(frame, part)
    kept = torch.from_numpy(~parsed.empty)
    name = next(iter(schema.fields))
    samples = Samples(schema.fields, {name: torch.from_numpy(parsed.values)[kept]})
    return ~parsed.empty, Dataset(samples, torch.as_tensor(numbers, dtype=torch.int64)[kept], schema)


def tell_unread(frame: Frame, table: Table, label: str) -> None:
    """Note the columns of a frame that the schema does not have, and those of the schema that the frame lacks."""
    names = {column.name for column in table.columns}
    if unread := [name for name in frame.columns if name not in names and name != label]:
        note(f"columns of {frame.source} that the schema does not have are not read: {listing(unread, MOST)}")
    if lacks := [column.name for column in table.columns if column.name not in frame.columns and column.missing]:
        lines = [f"{name} (did you mean {near}?)" if (near := nearest(name, unread)) else name for name in lacks]
        note(f"{frame.source} lacks columns of the schema, which count as missing: {listing(lines, MOST)}")


def tell_far(frame: Frame, part: ColumnValues) -> None:
    """Note the categories of a column that the schema does not have, and values far from its range."""
    if count := int(part.unseen.sum()):
        words = unseen_words(frame, part)
        note(
            f"column {part.column.name!r} of {frame.source} has {count} row{'s' * (count > 1)} with a category that "
            f"the schema does not have ({words}): they count as missing"
        )
    if is_far(part):
        note(f"{far_text(part, frame.source)}: {beyond(part):.0%} of its values count as the nearest end")


def unseen_words(frame: Frame, part: ColumnValues) -> str:
    """The first categories of a column that the schema does not have."""
    words = sorted(set(texts(frame.columns[part.column.name])[part.unseen].tolist()))
    return listing([excerpt(word, MOST_CELL) for word in words], MOST)


def require_seen(frame: Frame, parts: Sequence[ColumnValues]) -> None:
    """Raise UsageError for a column of which all values are categories that the schema does not have."""
    for part in parts:
        if is_foreign(part):
            column = part.column
            raise UsageError(
                f"all values in column {column.name!r} of {frame.source} are categories that the schema does not have "
                f"({unseen_words(frame, part)}); it has {listing(column.categories, MOST)}: write them so"
            )


def is_foreign(part: ColumnValues) -> bool:
    """Whether a column has values, more than a few, and all are categories that the schema does not have."""
    return int(part.unseen.sum()) >= FOREIGN and bool((part.unseen | part.absent).all())


def is_far(part: ColumnValues) -> bool:
    """Whether so many of a column's values lie beyond its range that the units may differ; few values say nothing."""
    return int((~np.isnan(part.values)).sum()) >= LEAST and beyond(part) > FAR


def beyond(part: ColumnValues) -> float:
    """The share of a column's values that lie beyond its range in the schema."""
    column = part.column
    present = part.values[~np.isnan(part.values)]
    if column.type not in NUMBERS or not len(present):
        return 0.0
    return float(((present < column.low) | (present > column.high)).mean())


def far_text(part: ColumnValues, source: str) -> str:
    """A column whose values lie far from the schema's range, in words."""
    column = part.column
    median = float(np.nanmedian(part.values))
    return (
        f"column {column.name!r} of {source} has the median {median:.4g}, and its range in the schema is "
        f"{column.low:g}..{column.high:g}: compare the units"
    )
