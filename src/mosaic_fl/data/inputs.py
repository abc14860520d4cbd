"""Pictures without labels, one after the other, each with the name that its prediction is to bear."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.csv_list import CSV_SUFFIXES, read_files
from mosaic_fl.data.parquet import as_parquet
from mosaic_fl.data.reading import IMAGE_COLUMNS
from mosaic_fl.domains.image.opening import Picture
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import note
from mosaic_fl.storage.files import require_file
from mosaic_fl.storage.pictures import IMAGE_SUFFIXES

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


def read_inputs(path: Path, reading: ReadingConfig) -> Inputs:
    """The pictures of a folder (with all below it, sorted), a Parquet file (or a folder of them), a list, or one file.

    A list is a CSV or TSV file with a column of file names, relative to its folder. A row of a Parquet file has the
    name in its column of file names, else the path beside its image. Told: files of a folder that are no images.
    Raises UsageError where there are none, and for a file that cannot be read.
    """
    if path.is_dir():
        return _folder(path, reading)
    if not path.is_file():
        raise UsageError(f"{path} {'is neither a file nor a folder' if path.exists() else 'does not exist'}")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return Inputs(str(path), iter([Input(path.name, None, path)]), tabular=False)
    if path.suffix.lower() in CSV_SUFFIXES:
        listed = read_files(path, reading)
        return Inputs(str(path), (Input(name, None, file) for name, file in listed), tabular=False)
    return _parquet([path], str(path), reading)


def _folder(folder: Path, reading: ReadingConfig) -> Inputs:
    files = [file for file in sorted(folder.rglob("*")) if not _is_hidden(file.relative_to(folder)) and file.is_file()]
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    if images:
        if others := [str(file.relative_to(folder)) for file in files if file.suffix.lower() not in IMAGE_SUFFIXES]:
            more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
            note(f"files of {folder} that are no images and are not read: {', '.join(others[:NAMED])}{more}")
        return Inputs(str(folder), (Input(str(f.relative_to(folder)), None, f) for f in images), tabular=False)
    if tables := [file for file in files if file.suffix.lower() == ".parquet"]:
        return _parquet(tables, str(folder), reading)
    raise UsageError(f"{folder} has neither images ({', '.join(sorted(IMAGE_SUFFIXES))}) nor Parquet files")


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


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
    import pyarrow as pa
    import pyarrow.parquet as pq

    require_file(file)
    with as_parquet(str(file)):
        parquet = pq.ParquetFile(file)
        schema, rows = parquet.schema_arrow, parquet.metadata.num_rows
    image = _column(schema.names, reading.image_column, IMAGE_COLUMNS, str(file))
    kind = schema.field(image).type
    if not (_is_image(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise UsageError(f"column {image} of {file} is {kind}, not images (a struct of bytes and path)")
    texts = [name for name in schema.names if name != image and _is_text(schema.field(name).type)]
    return image, next((name for name in FILE_COLUMNS if name in texts), None), rows


def _parquet_rows(file: Path, image: str, name: str | None, otherwise: str) -> Iterator[Input]:
    import pyarrow.parquet as pq

    with as_parquet(str(file)), pq.ParquetFile(file) as parquet:
        row = 0
        for batch in parquet.iter_batches(AT_ONCE, columns=[image, *([name] if name else [])]):
            names = batch.column(name).to_pylist() if name else [None] * len(batch)
            for cell, called in zip(batch.column(image).to_pylist(), names, strict=True):
                content, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
                picture = content if isinstance(content, bytes) else None
                yield Input(str(called or path or otherwise), row, picture)
                row += 1


def _is_image(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _column(present: Sequence[str], wanted: str, usual: Sequence[str], source: str) -> str:
    for name in [wanted] if wanted else usual:
        if name in present:
            return name
    raise UsageError(
        f"{source} has no column {wanted or ' or '.join(usual)}; it has {', '.join(present) or 'none'}: "
        "name one with --image-column"
    )
