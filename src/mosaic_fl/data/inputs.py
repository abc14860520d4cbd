"""Pictures without labels for predictions, read one after the other, each with a name for its prediction."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.columns import choose_image, column_of, image_cells, is_text, kind_of, names, root
from mosaic_fl.data.csv_list import read_files
from mosaic_fl.data.delimited import CSV_SUFFIXES
from mosaic_fl.data.parquet import open_parquet, rows_at_once
from mosaic_fl.data.places import existing
from mosaic_fl.data.rows import READING
from mosaic_fl.domains.image.opening import Picture
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import note
from mosaic_fl.storage.pictures import IMAGE_SUFFIXES
from mosaic_fl.storage.walk import walk

FILE_COLUMNS = ("file", "file_name", "filename", "file_path", "filepath", "path", "image_path", "image_file")
AT_ONCE = 64  # rows of a Parquet file whose bytes are in memory
MOST_NAMES = 3  # files that a note names


@dataclass(frozen=True)
class Input:
    """A picture: `file` is its name ("" for none), `row` its row in a Parquet file (None elsewhere).

    Names are relative to the user's folder, or as a list writes them.
    """

    file: str
    row: int | None
    picture: Picture


@dataclass(frozen=True)
class Inputs:
    """`total` pictures of `source`, read when the iterator reaches them; `tabular` where each has a row."""

    source: str
    items: Iterator[Input]
    total: int
    tabular: bool


def read_inputs(path: str | Path, reading: ReadingConfig = READING) -> Inputs:
    """The pictures of a folder (with all below it, sorted), a Parquet file (or a folder of them), a list, or one file.

    A list is a CSV or TSV file with a column of file names, relative to its folder. A row of a Parquet file has the
    name in its column of file names, else the path beside its image. A note names files of a folder that are no images.
    Raises UsageError where there are no pictures, and for a file that cannot be read.
    """
    path = existing(path)
    if path.is_dir():
        return _folder(path, reading)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return Inputs(str(path), iter([Input(path.name, None, path)]), 1, tabular=False)
    if path.suffix.lower() in CSV_SUFFIXES:
        entries = read_files(path, reading)
        return Inputs(str(path), (Input(name, None, file) for name, file in entries), len(entries), tabular=False)
    return _parquet([path], str(path), reading)


def _folder(folder: Path, reading: ReadingConfig) -> Inputs:
    content = walk(folder)
    files = content.files
    content.tell()
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    if images:
        if other_files := [
            str(file.relative_to(folder)) for file in files if file.suffix.lower() not in IMAGE_SUFFIXES
        ]:
            more = f" and {len(other_files) - MOST_NAMES} more" if len(other_files) > MOST_NAMES else ""
            note(f"files of {folder} that are no images and are not read: {', '.join(other_files[:MOST_NAMES])}{more}")
        items = (Input(str(file.relative_to(folder)), None, file) for file in images)
        return Inputs(str(folder), items, len(images), tabular=False)
    if tables := [file for file in files if file.suffix.lower() == ".parquet"]:
        return _parquet(tables, str(folder), reading)
    raise UsageError(f"{folder} has neither images ({', '.join(sorted(IMAGE_SUFFIXES))}) nor Parquet files")


@dataclass(frozen=True)
class _Table:
    """A Parquet file: the columns of images and of file names (`title`, if any), its rows, and rows read at once."""

    file: Path
    image: str
    title: str | None
    rows: int
    at_once: int


def _parquet(files: Sequence[Path], source: str, reading: ReadingConfig) -> Inputs:
    tables = [_table(file, reading) for file in files]  # all are checked before any is decoded
    total = sum(table.rows for table in tables)
    if not total:
        raise UsageError(f"{source} has no rows")

    def items() -> Iterator[Input]:
        for table in tables:
            yield from _rows(table, table.file.name if len(files) > 1 else "")

    return Inputs(source, items(), total, tabular=True)


def _table(file: Path, reading: ReadingConfig) -> _Table:
    with open_parquet(file) as parquet:
        schema = parquet.schema_arrow
        rows = parquet.metadata.num_rows
        image = choose_image(schema, reading, str(file))
        title = _title(schema, image)
        at_once = rows_at_once(file, parquet, _roots(schema, image, title), AT_ONCE)
    return _Table(file, image, title, rows, at_once)


def _title(schema: Any, image: str) -> str | None:
    """The column of file names, by its usual names in any case, or None."""
    texts = [name for name in names(schema) if name != image and is_text(kind_of(schema, name))]
    for usual in FILE_COLUMNS:
        if alike := [name for name in texts if name.casefold() == usual]:
            return usual if usual in alike else alike[0]
    return None


def _rows(table: _Table, default: str) -> Iterator[Input]:
    """The rows of a file; `default` is the name of those without one."""
    with open_parquet(table.file) as parquet:
        import pyarrow as pa

        row = 0
        columns = _roots(parquet.schema_arrow, table.image, table.title)
        for batch in parquet.iter_batches(table.at_once, columns=columns):
            part = pa.Table.from_batches([batch])
            titles = column_of(part, table.title).to_pylist() if table.title else [None] * len(part)
            for (content, path), title in zip(image_cells(part, table.image), titles, strict=True):
                yield Input(str(title or path or default), row, content)
                row += 1


def _roots(schema: Any, *columns: str | None) -> list[str]:
    """The stored columns that contain these columns."""
    return list(dict.fromkeys(root(schema, column) for column in columns if column))
