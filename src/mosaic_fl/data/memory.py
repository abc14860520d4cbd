"""Tables that a user has in memory -> a `Dataset`, or values at rest for a model."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mosaic_fl.config import DataConfig, ReadingConfig
from mosaic_fl.data.fields.schema_toml import read_toml_schema
from mosaic_fl.data.table.draft import draft, tell, with_classes
from mosaic_fl.data.table.frame import Frame
from mosaic_fl.data.table.reading import cells_of, frame_of
from mosaic_fl.data.table.rows import read_rows, table_of, tell_far, tell_unread
from mosaic_fl.data.table.values import parse, why_no_answer
from mosaic_fl.domains.dataset import Dataset
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
) -> Dataset:
    """Labelled rows of a table in memory as samples.

    `rows` is a frame of pandas or polars, a dict of columns, or an array (n, columns) with `names`. `labels` is the
    name of one of its columns, or (n,) labels. `schema` is that of the federation, or its TOML file. Without one it is
    drafted from these rows, without the columns in `ignore`: the result's `schema` is what all sites need. It tells of
    no value, and of no class, that fewer than `least_rows` rows have: rows of rarer classes are left out with a note.
    Notes and errors are those of `mosaic schema` and `mosaic contribute`. Raises UsageError.

    >>> from_table({"age": [31, 54] * 20}, ["no", "yes"] * 20).schema.summary
    'rows of 1 column, 2 classes'
    """
    frame = frame_of(rows, names)
    if isinstance(labels, str):
        label = frame.label_column(labels)
    else:
        label = LABEL if LABEL not in frame.columns else f"{LABEL} of the rows"
        cells = cells_of(labels, label, frame.source)
        if len(cells) != len(frame):
            raise UsageError(f"there are {len(frame)} rows, but {len(cells)} labels")
        frame = Frame(frame.source, {**frame.columns, label: cells})
    if least_rows < 1:
        raise UsageError(f"least_rows is {least_rows}: one row or more stands behind a value")
    drafted = schema is None
    if schema is None:
        made = draft(frame, label, ignore=dict.fromkeys(ignore, "ignore names it"), least=least_rows)
        tell(made, frame.source)
        schema = made.schema
        frame = with_classes(frame.without(made.left_out), label, schema)
    elif not isinstance(schema, Schema):
        schema = read_toml_schema(Path(schema))
    name_kinds(schema)
    return read_rows(frame, schema, ReadingConfig(label_column=label), drafted=drafted)[1]


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
