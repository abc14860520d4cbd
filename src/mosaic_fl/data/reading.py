"""Rows of encoded pictures with labels, from Parquet files and tables of hub data sets.

Parquet is read with pyarrow: `datasets` would leave a copy of the data in the user's cache. Nothing here unpickles or
runs the content of files.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.columns import (
    choose_image,
    column_of,
    image_cells,
    is_text,
    leaves,
    names,
    numbers,
    require_single,
    root,
    type_text,
)
from mosaic_fl.data.labels import Labels, read_labels
from mosaic_fl.data.names import in_order, listing
from mosaic_fl.data.parquet import as_parquet, read_table
from mosaic_fl.data.rows import READING, Rows, choose_column
from mosaic_fl.domains.image.opening import Picture
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import note

LABEL_COLUMNS = ("label", "labels", "fine_label")


def read_parquet(file: Path, reading: ReadingConfig = READING) -> Rows:
    """The rows of a Parquet file in the Hugging Face image convention.

    A note names columns that are not read. Raises UsageError for another file, for one without rows, and for invalid
    labels (see `labels.read_labels`).
    """
    source = str(file)
    columns: tuple[str, str] = ("", "")

    def select(schema: Any) -> tuple[str, ...]:
        nonlocal columns
        columns = _columns(schema, reading, source)
        _tell_unread(schema, columns, source)
        return columns

    return _rows(_table(file, select), source, *columns)


def rows_of_table(table: Any, source: str, reading: ReadingConfig = READING, *, paths: bool = False) -> Rows:
    """The rows of a pyarrow table with a column of images and one of labels; a note names the others.

    `paths` allows pictures in files of their own.
    """
    columns = _columns(table.schema, reading, source)
    _tell_unread(table.schema, columns, source)
    return _rows(table, source, *columns, paths=paths)


def _rows(table: Any, source: str, image: str, label: str, *, paths: bool = False) -> Rows:
    with as_parquet(source):
        pictures = _pictures(table, image, source, paths=paths)
        labels = labels_of(table, label, source)
    return Rows(source, pictures, labels.numbers, labels.names, labels.coded)


def _table(file: Path, select: Callable[[Any], Sequence[str]]) -> Any:
    """The columns `select(schema)` of a file as a pyarrow table, each struct with all its fields."""
    return read_table(file, lambda schema: list(dict.fromkeys(root(schema, column) for column in select(schema))))


def _columns(schema: Any, reading: ReadingConfig, source: str) -> tuple[str, str]:
    """The names of the columns of images and of labels, with a dot within a struct."""
    image = choose_image(schema, reading, source)
    label = choose_column(names(schema), reading.label_column, LABEL_COLUMNS, "--label-column", source)
    if image == label:
        raise UsageError(f"{source}: column {image} cannot be both the image and the label")
    require_single(schema, label, source)
    return image, label


def _tell_unread(schema: Any, columns: tuple[str, str], source: str) -> None:
    if unread := [name for name in leaves(schema) if name not in columns]:
        note(f"columns of {source} that are not read: {listing(unread)}")


def _pictures(table: Any, name: str, source: str, *, paths: bool = False) -> list[Picture]:
    cells = image_cells(table, name)
    if not cells:
        raise UsageError(f"{source} has no rows")
    # `decode` refuses missing pictures, or leaves them out.
    return [Path(path) if content is None and paths and path else content for content, path in cells]


def labels_of(table: Any, name: str, source: str) -> Labels:
    """The labels in a column of a pyarrow table, by name where its metadata name classes; raises UsageError."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = column_of(table, name)
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        wrong = [row for row, cell in enumerate(column.to_pylist()) if cell is None or len(cell) != 1]
        if wrong:
            raise UsageError(f"row {wrong[0]} of {source} has no one label: column {name} is {kind}")
        column = pc.list_flatten(column)
        kind = column.type
    if column.null_count:
        raise UsageError(f"row {pc.index(pc.is_null(column), True).as_py()} of {source} has no label")
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    plain = numeric or any(is_kind(kind) for is_kind in (pa.types.is_boolean, pa.types.is_decimal))
    if not (plain or is_text(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise UsageError(
            f"labels must be whole numbers 0..C−1 or text, but column {name} of {source} is {type_text(kind)}"
        )

    values = numbers(column) if numeric else np.array(column.to_pylist(), object)
    labels = read_labels(np.asarray(values), lambda row: f"row {row} of {source}", source)
    classes = _class_names(table, name)
    if classes is None or labels.names is not None:
        return labels
    wrong = np.flatnonzero((labels.numbers < 0) | (labels.numbers >= len(classes))).tolist()
    if wrong:
        raise UsageError(
            f"row {wrong[0]} of {source} has label {labels.numbers[wrong[0]]}, but its {len(classes)} classes are "
            f"{listing(classes)}"
        )
    return Labels(labels.numbers, classes)


def _class_names(table: Any, label: str) -> tuple[str, ...] | None:
    """The class names in the metadata that Hugging Face `datasets` writes, or None."""
    try:
        features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
        for part in label.split(".") if label not in features else [label]:
            features = features[part]
        if isinstance(features, list):  # labels in lists of one, as older versions write it
            features = features[0]
        elif "feature" in features:
            features = features["feature"]
        classes = tuple(map(str, features["names"]))
    except (KeyError, IndexError, TypeError, ValueError, RecursionError):
        return None
    if len(classes) != len(set(classes)):
        raise UsageError(f"its metadata name two classes alike: {listing(in_order(classes))}")
    return classes
