"""Rows of several fields from CSV, TSV and Parquet files; nothing is decoded here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mosaic_fl.config import ReadingConfig
from mosaic_fl.config.experiment import MISSING
from mosaic_fl.data.columns import column_of, image_cells, is_image, is_text, kind_of, names, root, type_text
from mosaic_fl.data.csv_list import is_file, resolve
from mosaic_fl.data.fields.rows import FieldRows, join
from mosaic_fl.data.names import quote
from mosaic_fl.data.parquet import as_parquet, read_table
from mosaic_fl.data.table.frame import Cells, Frame, missing_mask, texts
from mosaic_fl.data.table.reading import arrow_cells, filled_rows, plain_columns, read_frame
from mosaic_fl.domains.image.opening import Picture
from mosaic_fl.errors import UsageError, unknown

UNNAMED = "a picture"  # the name of one that has no path


def read_rows(
    files: Sequence[Path], source: str, reading: ReadingConfig, missing: Sequence[str] = MISSING
) -> FieldRows:
    """The rows of the files of one data set, with the columns of pictures that `reading` names and the files have.

    Rows without any cell are left out with a note. Raises UsageError for a picture's file that does not exist, unless
    `reading.skip_broken`.
    """
    if reading.label_column in reading.image_columns:
        raise UsageError(f"{source}: column {reading.label_column} cannot be both an image and the label")
    parts = list[FieldRows]()
    for file in files:
        part = read_file(file, reading.image_columns, missing)
        filled = filled_rows(part.frame)
        parts.append(part if filled.all() else part.at(filled))
    rows = join(parts, source)
    if not reading.skip_broken:
        require_files(rows)
    return rows


def read_file(file: Path, image_columns: Sequence[str], missing: Sequence[str] = ()) -> FieldRows:
    """The rows of one file; a column of `image_columns` that it does not have is left out.

    A cell is a path, relative to the folder of the file; in Parquet also the struct of an image, or its bytes. An empty
    cell, null, or one of the words `missing` is no picture. Raises UsageError for another file, and for a column that
    has no pictures.
    """
    if file.suffix.lower() == ".parquet":
        return _of_parquet(file, image_columns, missing)
    frame = read_frame(file)
    present = [name for name in image_columns if name in frame.columns]
    return FieldRows(frame, {name: _paths(frame.columns[name], file.parent, missing) for name in present})


def _paths(cells: Cells, folder: Path, missing: Sequence[str]) -> list[Picture]:
    absent = missing_mask(cells, missing)
    return [None if empty else resolve(folder, text) for text, empty in zip(texts(cells).tolist(), absent, strict=True)]


def _of_parquet(file: Path, image_columns: Sequence[str], missing: Sequence[str]) -> FieldRows:
    present: list[str] = []
    plain: list[str] = []

    def select(schema: Any) -> list[str]:
        present.extend(name for name in image_columns if name in names(schema))
        stored = [root(schema, name) for name in present]
        plain.extend(plain_columns(schema, str(file), stored))
        for name in present:
            _require_pictures(schema, name, file)
        return list(dict.fromkeys([*plain, *stored]))

    table = read_table(file, select)
    columns = dict[str, Cells]()
    pictures = dict[str, list[Picture]]()
    with as_parquet(str(file)):
        columns |= {name: arrow_cells(table[name]) for name in plain}
        for name in present:
            titles, pictures[name] = _cells(table, name, file.parent, missing)
            columns[name] = titles
    return FieldRows(Frame(str(file), columns), pictures)


def _require_pictures(schema: Any, name: str, file: Path) -> None:
    import pyarrow as pa

    kind = kind_of(schema, name)
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
    if not (is_image(kind) or binary or is_text(kind) or pa.types.is_null(kind)):
        raise UsageError(
            f"column {name!r} of {file} is {type_text(kind)}, not pictures: a struct of bytes and path, bytes, or "
            "paths as text"
        )


def _cells(table: Any, name: str, folder: Path, missing: Sequence[str]) -> tuple[Cells, list[Picture]]:
    """(the names of the pictures of a column, "" for none; the pictures)."""
    if is_text(column_of(table, name).type):
        cells = arrow_cells(column_of(table, name))
        return texts(cells), _paths(cells, folder, missing)
    titles = np.empty(len(table), object)
    pictures = list[Picture]()
    for row, (content, path) in enumerate(image_cells(table, name)):
        titles[row] = path or (UNNAMED if content is not None else "")
        pictures.append(content if content is not None or path is None else resolve(folder, path))
    return titles, pictures


def require_files(rows: FieldRows) -> None:
    """Raise UsageError where a picture is a file that does not exist."""
    for name, column in rows.pictures.items():
        lost = [row for row, picture in enumerate(column) if isinstance(picture, Path) and not is_file(picture)]
        if lost:
            several = len(lost) != 1
            word = quote(str(rows.frame.columns[name][lost[0]])[:200])
            raise UsageError(
                f"{len(lost)} file{'s' * several} of column {name!r} of {rows.source} do{'es' * (not several)} not "
                f"exist, the first in {rows.frame.place(lost[0])}: {word}: names are relative to the folder of the "
                "table; leave the cell empty where there is no picture, or say --skip-broken"
            )


def require_columns(rows: FieldRows, image_columns: Sequence[str]) -> None:
    """Raise UsageError where the rows lack one of these columns of pictures, from which a schema is to be drafted."""
    for name in image_columns:
        if name not in rows.pictures:
            raise UsageError(f"{rows.source}: {unknown('column', name, map(quote, rows.frame.columns))}")
