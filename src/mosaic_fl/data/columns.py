"""The columns of a Parquet schema or table: which holds the images, and what its cells are.

A field of a struct is a column, too, as `sample.label`; the struct of one image (bytes, path) is one value.
"""

from typing import Any

from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.rows import choose_column
from mosaic_fl.errors import UsageError

IMAGE_COLUMNS = ("image", "img")


def choose_image(schema: Any, reading: ReadingConfig, source: str) -> str:
    """The column of images, of its usual names in any case unless `reading` names one.

    Raises UsageError where there is none, or two, and for one that holds something else.
    """
    image = choose_column(names(schema), reading.image_column, IMAGE_COLUMNS, "--image-column", source)
    require_single(schema, image, source)
    kind = kind_of(schema, image)
    if not (is_image(kind) or _is_bytes(kind)):
        raise UsageError(f"column {image} of {source} is {kind}, not images (a struct of bytes and path)")
    return image


def require_single(schema: Any, name: str, source: str) -> None:
    """Raise UsageError where there are several columns of that name."""
    if (count := names(schema).count(name)) > 1:
        raise UsageError(f"{source} has {count} columns called {name}")


def names(schema: Any) -> list[str]:
    """All columns, and the fields of those that are structs of several things, as `sample.label`."""
    return list(schema.names) + [name for name in leaves(schema) if "." in name and name not in schema.names]


def leaves(schema: Any) -> list[str]:
    """The columns, structs other than images as their fields."""
    import pyarrow as pa

    columns = list[str]()
    for column in schema:
        if pa.types.is_struct(column.type) and not is_image(column.type):
            columns += [f"{column.name}.{field.name}" for field in column.type]
        else:
            columns.append(column.name)
    return columns


def root(schema: Any, name: str) -> str:
    """The column that is stored, which `name` is or is a field of."""
    return name if name in schema.names else name.partition(".")[0]


def kind_of(schema: Any, name: str) -> Any:
    """The type of a column's values, those of a dictionary decoded."""
    import pyarrow as pa

    column = root(schema, name)
    kind = schema.field(column).type
    if column != name:
        kind = kind.field(name.removeprefix(f"{column}.")).type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def is_image(kind: Any) -> bool:
    """Whether values are structs as Hugging Face's of an image."""
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

    whole = root(table.schema, name)
    column = table[whole]
    if whole != name:
        column = pc.struct_field(column, name.removeprefix(f"{whole}."))
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column


def image_cells(table: Any, name: str) -> list[tuple[bytes | None, str | None]]:
    """What each row of a column of images holds: the bytes of a file, and the path that it had."""
    cells = []
    for cell in column_of(table, name).to_pylist():
        content = cell.get("bytes") if isinstance(cell, dict) else cell
        path = cell.get("path") if isinstance(cell, dict) else None
        cells.append((content if isinstance(content, bytes) else None, str(path) if path else None))
    return cells


def _is_bytes(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))
