"""Tables that a user has in memory -> a `Dataset`, or values at rest for a model."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mosaic_fl.config import DataConfig, ReadingConfig
from mosaic_fl.config.experiment import MISSING
from mosaic_fl.data.fields.decoding import read_fields, samples_of
from mosaic_fl.data.fields.draft import draft_fields
from mosaic_fl.data.fields.memory import require_images, rows_of
from mosaic_fl.data.fields.rows import FieldRows, has_fields, images_in
from mosaic_fl.data.fields.schema_toml import read_toml_schema
from mosaic_fl.data.fields.settings import reading_as_fields
from mosaic_fl.data.table.draft import draft, of_classes, tell, with_classes
from mosaic_fl.data.table.frame import Frame
from mosaic_fl.data.table.reading import cells_of, frame_of
from mosaic_fl.data.table.rows import read_rows, table_of, tell_far, tell_unread
from mosaic_fl.data.table.values import parse, why_no_answer
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.registries import name_kinds

LABEL = "label"  # the name of the column of labels that come beside the rows


def from_table(
    rows: Any,
    labels: Any,
    schema: Schema | str | Path | None = None,
    *,
    names: Sequence[str] | None = None,
    ignore: Collection[str] = (),
    least_rows: int = DataConfig().least_rows,
    images: Sequence[str] = (),
    image_size: int = 0,
    folder: str | Path = ".",
) -> Dataset:
    """Labelled rows of a table in memory as samples.

    `rows` is a frame of pandas or polars, a dict of columns, or an array (n, columns) with `names`. `labels` is the
    name of one of its columns, or (n,) labels. `schema` is that of the federation, or its TOML file. Without one it is
    drafted from these rows, without the columns in `ignore`: the result's `schema` is what all sites need. It tells of
    no value, and of no class, that fewer than `least_rows` rows have: rows of rarer classes are left out with a note.
    Notes and errors are those of `mosaic schema` and `mosaic contribute`. Raises UsageError.

    `images` names columns of pictures: samples have several fields then, these and `table` of the other columns. A cell
    is the path of a file (relative to `folder`), its bytes, a picture of PIL, uint8 (h, w) or (h, w, 3), or missing. A
    `schema` of several fields names them itself. Without a schema, `image_size` is the pixels a side that they get.

    >>> from_table({"age": [31, 54] * 20}, ["no", "yes"] * 20).schema.summary
    'rows of 1 column, 2 classes'
    """
    if least_rows < 1:
        raise UsageError(f"least_rows is {least_rows}: one row or more stands behind a value")
    if schema is not None and not isinstance(schema, Schema):
        schema = read_toml_schema(Path(schema))
    if images or has_fields(schema):
        reading = ReadingConfig(image_columns=tuple(images), image_size=image_size)
        return _of_fields(rows, labels, schema, reading, Path(folder), ignore, least_rows)
    frame, label = with_labels(frame_of(rows, names), labels)
    drafted = schema is None
    if schema is None:
        made = draft(frame, label, ignore=dict.fromkeys(ignore, "ignore names it"), least=least_rows)
        tell(made, frame.source)
        schema = made.schema
        frame = with_classes(frame.without(made.left_out), label, schema)
    name_kinds(schema)
    return read_rows(frame, schema, ReadingConfig(label_column=label), drafted=drafted)[1]


def with_labels(frame: Frame, labels: Any) -> tuple[Frame, str]:
    """The frame with its labels in a column, and the name of that."""
    if isinstance(labels, str):
        return frame, frame.label_column(labels)
    label = LABEL if LABEL not in frame.columns else f"{LABEL} of the rows"
    cells = cells_of(labels, label, frame.source)
    if len(cells) != len(frame):
        raise UsageError(f"there are {len(frame)} rows, but {len(cells)} labels")
    return replace(frame, columns={**frame.columns, label: cells}), label


def _of_fields(
    data: Any,
    labels: Any,
    schema: Schema | None,
    reading: ReadingConfig,
    folder: Path,
    ignore: Collection[str],
    least: int,
) -> Dataset:
    """`from_table` of rows with several fields."""
    reading = reading if schema is None else reading_as_fields(schema, reading, "the schema")
    read = rows_of(data, reading.image_columns, folder)
    frame, label = with_labels(read.frame, labels)
    rows = FieldRows(frame, read.pictures)
    labelled = reading.model_copy(update={"label_column": label})
    if schema is not None:
        name_kinds(schema)
        return read_fields(rows, schema, labelled)[1]
    require_images(rows, reading.image_columns)
    left_out = dict.fromkeys(ignore, "ignore names it")
    made = draft_fields(rows, label, labelled, ignore=left_out, least=least, missing=MISSING)
    tell(made.draft, rows.source)
    name_kinds(made.draft.schema)
    chosen = of_classes(rows.frame, label, made.draft.schema.classes, MISSING)
    decoded = made.decoded if chosen.all() else None  # whose rows are others where some are left out
    return read_fields(rows.without(made.draft.left_out).at(chosen), made.draft.schema, labelled, decoded)[1]


def samples_in(data: Any, schema: Schema) -> Samples:
    """Rows in memory, without labels, as samples for a model of `schema`, which has several fields.

    `data` is as in `from_table`, and may lack fields. Raises UsageError for a row that cannot be read, and for one that
    has no field.
    """
    rows = rows_of(data, tuple(images_in(schema)), Path())
    samples = samples_of(rows, schema, ReadingConfig(channels="grey"))
    if bare := (~samples.having_any()).nonzero().flatten().tolist():
        raise UsageError(f"row {bare[0]} of {rows.source} has none of the fields {', '.join(schema.fields)}")
    return samples


def values_of(rows: Any, schema: Schema) -> Tensor:
    """Rows in memory, without labels, as values at rest float32 (n, D) for a model of `schema`.

    `rows` is as in `from_table`; an array has the schema's columns in their order. Raises UsageError for a row that
    cannot be read, or has no value at all: no model says anything of it.
    """
    table = table_of(schema)
    ordered = isinstance(rows, np.ndarray | Tensor) or (isinstance(rows, list) and not isinstance(rows, dict))
    frame = frame_of(rows, [column.name for column in table.columns] if ordered else None)
    tell_unread(frame, table, table.label)
    parsed = parse(frame, table)
    without = sorted({*parsed.errors, *np.flatnonzero(parsed.empty).tolist()})
    if without:
        more = f" ({len(without):,} rows have no answer)" if len(without) > 1 else ""
        raise UsageError(f"{why_no_answer(frame, parsed, without[0])}{more}")
    for part in parsed.columns:
        tell_far(frame, part)
    return torch.from_numpy(parsed.values)
