"""Tables from files and from memory: CSV, TSV, Parquet, a frame of pandas or polars, arrays by name."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.columns import IMAGE_COLUMNS, is_image, is_text, kind_of, names, numbers
from mosaic_fl.data.csv_list import FILE_COLUMNS
from mosaic_fl.data.delimited import CSV_SUFFIXES, read_delimited, read_header
from mosaic_fl.data.names import listing
from mosaic_fl.data.parquet import as_parquet, open_parquet, read_table
from mosaic_fl.data.table.frame import Cells, Frame, Mask, join, missing_mask
from mosaic_fl.errors import UsageError, excerpt
from mosaic_fl.notes import note
from mosaic_fl.storage.files import require_file


def read_frames(files: Sequence[Path], source: str) -> Frame:
    """The labelled rows of the table files of one data set; rows without any cell are left out with a note."""
    return join([_without_empty(read_frame(file)) for file in files], source)


def _without_empty(frame: Frame) -> Frame:
    filled = filled_rows(frame)
    return frame if filled.all() else frame.at(filled)


def filled_rows(frame: Frame) -> Mask:
    """Which rows have any cell, bool (n,); a note counts the others. Raises UsageError where none has."""
    empty = np.asarray(np.all([missing_mask(cells, ()) for cells in frame.columns.values()], axis=0), np.bool_)
    if empty.all():
        raise UsageError(f"{frame.source} has no rows")
    if count := int(empty.sum()):
        note(f"{count} row{'s' * (count > 1)} of {frame.source} without any value: left out")
    return ~empty


def read_frame(file: Path, pictures: Collection[str] = ()) -> Frame:
    """The table in a CSV, TSV or Parquet file; of Parquet without the columns `pictures`.

    Notes name columns without a name and columns that are no values, as lists: they are not read. Raises UsageError for
    another file, for two columns of one name, and for a header line that is a row.
    """
    require_file(file)
    if file.suffix.lower() in CSV_SUFFIXES:
        return _of_csv(file)
    if file.suffix.lower() == ".parquet":
        return _of_arrow(read_table(file, lambda schema: plain_columns(schema, str(file), pictures)), str(file))
    raise UsageError(f"{file} is no table: give a CSV, TSV or Parquet file")


def frame_of(data: Any, headers: Sequence[str] | None = None, source: str = "the table") -> Frame:
    """The table that a user has in memory: a frame of pandas or polars, a dict of columns, or a 2-d array.

    `headers` are the names of an array's columns.

    Raises UsageError for anything else.
    """
    if isinstance(data, Frame):
        return data
    columns = columns_of(data, source)
    if columns is None:
        columns = _of_array(np.asarray(data), headers, source)
    if not columns:
        raise UsageError(f"{source} has no columns")
    return Frame(source, {name: cells_of(column, name, source) for name, column in columns.items()})


def columns_of(data: Any, source: str) -> dict[str, Any] | None:
    """The columns of a frame or a dict by name; None for anything else. Raises UsageError for two of one name."""
    if isinstance(data, Mapping):
        return {str(name): column for name, column in data.items()}
    if hasattr(data, "columns") and hasattr(data, "__getitem__"):
        _require_once([str(name) for name in data.columns], source)
        return {str(name): data[name] for name in data.columns}
    return None


def _of_array(array: Any, headers: Sequence[str] | None, source: str) -> dict[str, Any]:
    if array.ndim != 2:
        raise UsageError(f"{source} has the shape {array.shape}: give (n, columns), a dict of columns, or a frame")
    titles = [f"x{i}" for i in range(array.shape[1])] if headers is None else list(map(str, headers))
    if len(titles) != array.shape[1]:
        raise UsageError(f"{source} has {array.shape[1]} columns, and there are {len(titles)} names")
    _require_once(titles, source)
    return dict(zip(titles, array.T, strict=True))


def _of_csv(file: Path) -> Frame:
    table = read_delimited(file)
    named = [name for name in table.columns if name]
    if len(named) < len(table.columns):
        note(f"a column of {file} has no name in the header line: it is not read")
    if numbers := [name for name in named if _is_number(name)]:
        raise UsageError(
            f"the header line of {file} has {excerpt(numbers[0])} for a name: write a line with the names of the "
            "columns above"
        )
    _require_once(named, str(file))
    columns = {name: _stripped(table.cells(name)) for name in named}
    return Frame(str(file), columns, [number for number, _ in table.lines])


def _stripped(cells: Sequence[str]) -> Cells:
    column = np.empty(len(cells), object)
    column[:] = [cell.strip() for cell in cells]
    return column


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return text.strip().casefold() not in ("nan", "inf", "infinity")


def _require_once(titles: Sequence[str], source: str) -> None:
    name, count = Counter(titles).most_common(1)[0] if titles else ("", 0)
    if count > 1:
        raise UsageError(f"{source} has {count} columns called {excerpt(name)}: give each a name of its own")


def plain_columns(schema: Any, source: str, pictures: Collection[str] = ()) -> list[str]:
    """The columns with values, not lists, structs or `pictures`; raises UsageError for two of one name."""
    _require_once(list(schema.names), source)
    plain = [field.name for field in schema if _is_plain(field.type) and field.name not in pictures]
    if other := [name for name in schema.names if name not in plain and name not in pictures]:
        note(f"columns of {source} that are no values of a table are not read: {listing(other)}")
    return plain


def _is_plain(kind: Any) -> bool:
    import pyarrow as pa

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    types = pa.types
    numbers = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    return bool(numbers or types.is_boolean(kind) or is_text(kind) or types.is_temporal(kind) or types.is_null(kind))


def is_table(file: Path, reading: ReadingConfig) -> bool:
    """Whether a file is a table of values: CSV or Parquet without a column of images or of their files."""
    if reading.image_column or reading.image_columns or file.suffix.lower() not in (".parquet", *CSV_SUFFIXES):
        return False
    if file.suffix.lower() in CSV_SUFFIXES:
        return not any(name.strip().casefold() in FILE_COLUMNS for name in read_header(file))
    with open_parquet(file) as parquet:
        return not any(
            is_image(kind_of(parquet.schema_arrow, name)) or _is_image_name(name)
            for name in names(parquet.schema_arrow)
        )


def _is_image_name(name: str) -> bool:
    return name.strip().casefold() in IMAGE_COLUMNS


def _of_arrow(table: Any, source: str) -> Frame:
    with as_parquet(source):
        columns = {name: arrow_cells(table[name]) for name in table.column_names}
    return Frame(source, columns)


def arrow_cells(column: Any) -> Cells:
    """A column of pyarrow as cells."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return numbers(column.cast(pa.float64(), safe=False))
    return _of_objects(column.to_pylist())


def cells_of(column: Any, name: str, source: str) -> Cells:
    """A column of a frame, an array or a list as cells; raises UsageError for anything else."""
    try:
        array = np.asarray(column)
    except (TypeError, ValueError) as error:
        raise UsageError(f"column {name!r} of {source} is no column of values: {error}") from error
    if array.ndim != 1:
        raise UsageError(f"column {name!r} of {source} has the shape {array.shape}, not (n,)")
    if array.dtype.kind in "iuf":
        return array.astype(np.float64)
    if array.dtype.kind in "mM":  # times, which would become whole numbers
        array = np.where(np.isnat(array), "", array.astype(str)).astype(object)
    return _of_objects(array.tolist())


def _of_objects(values: Sequence[Any]) -> Cells:
    """Cells of values of any type: numbers where all are numbers or missing, else text."""
    plain = [None if is_nothing(value) else value for value in values]
    present = [value for value in plain if value is not None]
    if present and all(isinstance(value, int | float) and not isinstance(value, bool) for value in present):
        return np.array([np.nan if value is None else float(value) for value in plain])
    column = np.empty(len(plain), object)
    column[:] = ["" if value is None else str(value).strip() for value in plain]
    return column


def is_nothing(value: Any) -> bool:
    """Whether a value is missing: None, NaN, or a missing value of pandas, which cannot be compared."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and value != value
