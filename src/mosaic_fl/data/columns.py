"""The columns of a Parquet schema or table: the one with the images, and its cells.

A field of a struct counts as a column, as `sample.label`. The struct of an image (bytes, path) is a single value.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.rows import IMAGE_OPTION, choose_column
from mosaic_fl.errors import UsageError

IMAGE_COLUMNS = ("image", "img")
MAX_TYPE = 100  # characters of a type in a message: a struct names all its fields


def choose_image(schema: Any, reading: ReadingConfig, source: str) -> str:
    """The column of images: the one that `reading` names, else one with a usual name, in any case.

    Raises UsageError for no such column, for two, and for one without images.
    """
    image = choose_column(names(schema), reading.image_column, IMAGE_COLUMNS, IMAGE_OPTION, source)
    require_single(schema, image, source)
    kind = kind_of(schema, image)
    if not (is_image(kind) or _is_bytes(kind)):
        raise UsageError(f"column {image} of {source} is {type_text(kind)}, not images (a struct of bytes and path)")
    return image


def numbers(column: Any) -> npt.NDArray[Any]:
    """A column of integers or floats as a new array (n,) of its type; missing ones are NaN.

    Integers have no missing value. pyarrow's own way loads pandas, which takes longer than many a file.
    """
    filled = column.fill_null(float("nan")) if column.null_count else column
    return np.from_dlpack(filled.combine_chunks()).copy()


def require_single(schema: Any, name: str, source: str) -> None:
    """Raise UsageError where there are several columns of that name."""
    if (count := names(schema).count(name)) > 1:
        raise UsageError(f"{source} has {count} columns called {name}")


def names(schema: Any) -> list[str]:
    """All columns, and the fields of structs that are no image, as `sample.label`."""
    return list(schema.names) + [name for name in leaves(schema) if "." in name and name not in schema.names]


def leaves(schema: Any) -> list[str]:
    """The columns, with the fields of a struct in its place unless it is an image."""
    import pyarrow as pa

    columns = list[str]()
    for column in schema:
        if pa.types.is_struct(column.type) and not is_image(column.type):
            columns += [f"{column.name}.{field.name}" for field in column.type]
        else:
            columns.append(column.name)
    return columns


def root(schema: Any, name: str) -> str:
    """The stored column `name`, or the one of which `name` is a field."""
    return name if name in schema.names else name.partition(".")[0]


def kind_of(schema: Any, name: str) -> Any:
    """The type of a column's values; of a dictionary, that of its values."""
    import pyarrow as pa

    column = root(schema, name)
    kind = schema.field(column).type
    if column != name:
        kind = kind.field(name.removeprefix(f"{column}.")).type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def type_text(kind: Any) -> str:
    """A type for a message, without the end of a long one."""
    text = str(kind)
    return text if len(text) <= MAX_TYPE else f"{text[:MAX_TYPE]}…"


def is_image(kind: Any) -> bool:
    """Whether values are structs of an image, as Hugging Face writes them."""
    import pyarrow as pa

    return bool(pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)


def is_text(kind: Any) -> bool:
    """Whether values are text."""
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def column_of(table: Any, name: str) -> Any:
    """A column, or a field of one that is a struct, as one chunked array of values (dictionaries decoded)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    base = root(table.schema, name)
    column = table[base]
    if base != name:
        column = pc.struct_field(column, name.removeprefix(f"{base}."))
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column


def image_cells(table: Any, name: str) -> list[tuple[bytes | None, str | None]]:
    """The bytes of the image file in each row of a column of images, and its original path."""
    cells = []
    for cell in column_of(table, name).to_pylist():
        content = cell.get("bytes") if isinstance(cell, dict) else cell
        path = cell.get("path") if isinstance(cell, dict) else None
        cells.append((content if isinstance(content, bytes) else None, str(path) if path else None))
    return cells


def _is_bytes(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))
