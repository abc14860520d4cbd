"""Parquet files and hub data sets -> rows of encoded pictures with labels.

Parquet is read with pyarrow, not through `datasets`, which would leave a copy of the data in the user's cache. Nothing
here unpickles or runs what it reads.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.labels import Labels, read_labels
from mosaic_fl.data.names import in_order, listed
from mosaic_fl.data.parquet import as_parquet, read_table
from mosaic_fl.data.rows import READING, Rows, choose_column
from mosaic_fl.domains.image.opening import Picture
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import note

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "fine_label")


def read_parquet(file: Path, reading: ReadingConfig = READING) -> Rows:
    """The rows of a Parquet file in the Hugging Face image convention.

    Columns that are not read are told. Raises UsageError for a file that is none, that has no rows, or whose labels are
    none (see `labels.read_labels`).
    """
    source = str(file)
    columns: tuple[str, str] = ("", "")

    def wanted(schema: Any) -> tuple[str, ...]:
        nonlocal columns
        columns = _columns(schema, reading, source)
        _tell_unread(schema, columns, source)
        return columns

    return _rows(_table(file, wanted), source, *columns)


def rows_of_table(table: Any, source: str, reading: ReadingConfig = READING, *, paths: bool = False) -> Rows:
    """The rows of a pyarrow table with a column of images and one of labels; the others are told.

    `paths` allows pictures that lie in files of their own.
    """
    columns = _columns(table.schema, reading, source)
    _tell_unread(table.schema, columns, source)
    return _rows(table, source, *columns, paths=paths)


def _rows(table: Any, source: str, image: str, label: str, *, paths: bool = False) -> Rows:
    with as_parquet(source):
        pictures = _pictures(table, image, source, paths=paths)
        labels = _labels(table, label, source)
    return Rows(source, pictures, labels.numbers, labels.names, labels.coded)


def _table(file: Path, wanted: Callable[[Any], Sequence[str]]) -> Any:
    """The `wanted` columns of a file's schema as a pyarrow table, each struct with all its fields."""
    return read_table(file, lambda schema: list(dict.fromkeys(_root(schema, column) for column in wanted(schema))))


def _columns(schema: Any, reading: ReadingConfig, source: str) -> tuple[str, str]:
    """The names of the columns of images and of labels, with a dot within a struct."""
    present = _names(schema)
    image = choose_column(present, reading.image_column, IMAGE_COLUMNS, "--image-column", source)
    label = choose_column(present, reading.label_column, LABEL_COLUMNS, "--label-column", source)
    if image == label:
        raise UsageError(f"{source}: column {image} cannot be both the image and the label")
    if twice := [name for name in (image, label) if present.count(name) > 1]:
        raise UsageError(f"{source} has {present.count(twice[0])} columns called {twice[0]}")
    return image, label


def _tell_unread(schema: Any, columns: tuple[str, str], source: str) -> None:
    if unread := [name for name in _leaves(schema) if name not in columns]:
        note(f"columns of {source} that are not read: {listed(unread)}")


def _names(schema: Any) -> list[str]:
    """All columns, and the fields of those that are structs of several things, as `sample.label`."""
    return list(schema.names) + [name for name in _leaves(schema) if "." in name and name not in schema.names]


def _leaves(schema: Any) -> list[str]:
    """The columns, structs other than images as their fields."""
    import pyarrow as pa

    leaves = list[str]()
    for column in schema:
        if pa.types.is_struct(column.type) and not _is_image(column.type):
            leaves += [f"{column.name}.{field.name}" for field in column.type]
        else:
            leaves.append(column.name)
    return leaves


def _is_image(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)


def _root(schema: Any, name: str) -> str:
    return name if name in schema.names else name.partition(".")[0]


def _column(table: Any, name: str) -> Any:
    """A column, or a field of one that is a struct, as one chunked array of values (dictionaries decoded)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    root = _root(table.schema, name)
    column = table[root]
    if root != name:
        column = pc.struct_field(column, name.removeprefix(f"{root}."))
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column


def _pictures(table: Any, name: str, source: str, *, paths: bool = False) -> list[Picture]:
    import pyarrow as pa

    column = _column(table, name)
    kind = column.type
    if _is_image(kind):
        cells = [cell or {} for cell in column.to_pylist()]
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        cells = [{"bytes": cell} for cell in column.to_pylist()]
    else:
        raise UsageError(f"column {name} of {source} is {kind}, not images (a struct of bytes and path)")
    if not cells:
        raise UsageError(f"{source} has no rows")
    pictures: list[Picture] = []
    for cell in cells:
        if isinstance(cell.get("bytes"), bytes):
            pictures.append(cell["bytes"])
        elif paths and cell.get("path"):
            pictures.append(Path(cell["path"]))
        else:
            pictures.append(None)  # `decode` refuses it, or leaves it out
    return pictures


def _labels(table: Any, name: str, source: str) -> Labels:
    import pyarrow as pa
    import pyarrow.compute as pc

    column = _column(table, name)
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
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    if not (plain or text or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise UsageError(f"labels must be whole numbers 0..C−1 or text, but column {name} of {source} is {kind}")

    values = column.to_numpy() if numeric else np.array(column.to_pylist(), object)
    labels = read_labels(np.asarray(values), lambda row: f"row {row} of {source}", source)
    names = _class_names(table, name)
    if names is None or labels.names is not None:
        return labels
    wrong = np.flatnonzero((labels.numbers < 0) | (labels.numbers >= len(names))).tolist()
    if wrong:
        raise UsageError(
            f"row {wrong[0]} of {source} has label {labels.numbers[wrong[0]]}, but its {len(names)} classes are "
            f"{listed(names)}"
        )
    return Labels(labels.numbers, names)


def _class_names(table: Any, label: str) -> tuple[str, ...] | None:
    """The class names in the metadata that Hugging Face `datasets` writes, or None."""
    try:
        features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
        for part in label.split(".") if label not in features else [label]:
            features = features[part]
        names = tuple(map(str, features["names"]))
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    if len(names) != len(set(names)):
        raise UsageError(f"its metadata name two classes alike: {listed(in_order(names))}")
    return names
