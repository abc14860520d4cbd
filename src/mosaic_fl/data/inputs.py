"""Pictures without labels, one after the other, each with the name that its prediction is to bear."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.columns import choose_image, column_of, image_cells, is_text, kind_of, names, root
from mosaic_fl.data.csv_list import CSV_SUFFIXES, read_files
from mosaic_fl.data.parquet import as_parquet
from mosaic_fl.data.places import existing
from mosaic_fl.data.rows import READING
from mosaic_fl.domains.image.opening import Picture
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import note
from mosaic_fl.storage.files import require_file
from mosaic_fl.storage.pictures import IMAGE_SUFFIXES
from mosaic_fl.storage.walk import walk

FILE_COLUMNS = ("file", "file_name", "filename", "file_path", "filepath", "path", "image_path", "image_file")
AT_ONCE = 64  # rows of a Parquet file whose bytes are in memory
NAMED = 3  # files that a note names


@dataclass(frozen=True)
class Input:
    """A picture: `file` is its name in what was given ("" for none), `row` its row in a Parquet file (None elsewhere).

    A relative name is relative to the folder that was given, or as a list writes it.
    """

    file: str
    row: int | None
    picture: Picture


@dataclass(frozen=True)
class Inputs:
    """Pictures of `source`, read while they are asked for; `tabular` where each has a row."""

    source: str
    items: Iterator[Input]
    tabular: bool


def read_inputs(path: str | Path, reading: ReadingConfig = READING) -> Inputs:
    """The pictures of a folder (with all below it, sorted), a Parquet file (or a folder of them), a list, or one file.

    A list is a CSV or TSV file with a column of file names, relative to its folder. A row of a Parquet file has the
    name in its column of file names, else the path beside its image. Told: files of a folder that are no images.
    Raises UsageError where there are none, and for a file that cannot be read.
    """
    path = existing(path)
    if path.is_dir():
        return _folder(path, reading)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return Inputs(str(path), iter([Input(path.name, None, path)]), tabular=False)
    if path.suffix.lower() in CSV_SUFFIXES:
        listed = read_files(path, reading)
        return Inputs(str(path), (Input(name, None, file) for name, file in listed), tabular=False)
    return _parquet([path], str(path), reading)


def _folder(folder: Path, reading: ReadingConfig) -> Inputs:
    found = walk(folder)
    files = found.files
    found.tell()
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    if images:
        if others := [str(file.relative_to(folder)) for file in files if file.suffix.lower() not in IMAGE_SUFFIXES]:
            more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
            note(f"files of {folder} that are no images and are not read: {', '.join(others[:NAMED])}{more}")
        return Inputs(str(folder), (Input(str(f.relative_to(folder)), None, f) for f in images), tabular=False)
    if tables := [file for file in files if file.suffix.lower() == ".parquet"]:
        return _parquet(tables, str(folder), reading)
    raise UsageError(f"{folder} has neither images ({', '.join(sorted(IMAGE_SUFFIXES))}) nor Parquet files")


def _parquet(files: Sequence[Path], source: str, reading: ReadingConfig) -> Inputs:
    columns = [_parquet_columns(file, reading) for file in files]  # all, before any work
    if not any(rows for *_, rows in columns):
        raise UsageError(f"{source} has no rows")

    def items() -> Iterator[Input]:
        for file, (image, name, _) in zip(files, columns, strict=True):
            yield from _parquet_rows(file, image, name, file.name if len(files) > 1 else "")

    return Inputs(source, items(), tabular=True)


def _parquet_columns(file: Path, reading: ReadingConfig) -> tuple[str, str | None, int]:
    """The column of images, that of file names if there is one, and how many rows there are."""
    import pyarrow.parquet as pq

    require_file(file)
    with as_parquet(str(file)):
        parquet = pq.ParquetFile(file)
        schema, rows = parquet.schema_arrow, parquet.metadata.num_rows
        image = choose_image(schema, reading, str(file))
        texts = [name for name in names(schema) if name != image and is_text(kind_of(schema, name))]
    called = [name for usual in FILE_COLUMNS for name in sorted(texts, key=usual.__ne__) if name.casefold() == usual]
    return image, called[0] if called else None, rows


def _parquet_rows(file: Path, image: str, name: str | None, otherwise: str) -> Iterator[Input]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with as_parquet(str(file)), pq.ParquetFile(file) as parquet:
        stored = list(dict.fromkeys(root(parquet.schema_arrow, column) for column in (image, name) if column))
        row = 0
        for batch in parquet.iter_batches(AT_ONCE, columns=stored):
            table = pa.Table.from_batches([batch])
            titles = column_of(table, name).to_pylist() if name else [None] * len(table)
            for (content, path), title in zip(image_cells(table, image), titles, strict=True):
                yield Input(str(title or path or otherwise), row, content)
                row += 1
