"""Reading a Parquet file, which may be hostile, within bounds: a table, or a UsageError with one line."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mosaic_fl.data.pages import chunks, page_sizes
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.storage.files import open_file, require_file

# Bounds on the content of a file: a few bytes of a compressed column can stand for terabytes.
MAX_ROWS = 2**24  # of a small file; a large one may have one row more for each byte
MAX_BYTES = 2**27
EXPANSION = 64  # more bytes for each byte of a large file
BATCH = 1024  # rows at a time, so that a bound is checked before all rows are in memory


def read_table(file: Path, select: Callable[[Any], Sequence[str]]) -> Any:
    """The columns `select(schema)` of a file as a pyarrow table.

    Raises UsageError for anything but a Parquet file, and for more rows or bytes than a file of its size may have.
    """
    with open_parquet(file) as parquet:
        import pyarrow as pa

        columns = list(select(parquet.schema_arrow))
        batches = list[Any]()
        total = 0
        size = file.stat().st_size
        for batch in parquet.iter_batches(rows_at_once(file, parquet, columns, BATCH), columns=columns):
            total += batch.nbytes
            _require_bytes(file, total, size)
            batches.append(batch)
        return pa.Table.from_batches(batches) if batches else parquet.read(columns)


@contextmanager
def open_parquet(file: Path) -> Iterator[Any]:
    """The `pyarrow.parquet.ParquetFile`; raises UsageError for anything else, and for errors in the block."""
    require_file(file)
    with as_parquet(str(file)):
        import pyarrow.parquet as pq

        with pq.ParquetFile(file) as parquet:
            yield parquet


def rows_at_once(file: Path, parquet: Any, columns: Sequence[str], most: int) -> int:
    """The number of rows, 1..`most`, of these stored columns that fit into memory, even if all have the largest value.

    Nothing is decompressed for this. Raises UsageError for more rows or bytes than a file of its size may have, and for
    an invalid summary or page.
    """
    size = file.stat().st_size
    summary = parquet.metadata
    if (rows := summary.num_rows) > MAX_ROWS + size:
        raise UsageError(f"{file} claims {rows:,} rows in {size:,} bytes: split it into several files")
    paths = [f"{parquet.schema.column(number).path}." for number in range(summary.num_columns)]
    numbers = {number for number, path in enumerate(paths) if path.startswith(tuple(f"{name}." for name in columns))}
    total = 0
    largest = 1
    with open_file(file) as stream:
        try:
            for chunk in chunks(stream):
                if chunk.column in numbers:
                    extent = sum(page_sizes(stream, chunk))
                    total += extent
                    largest = max(largest, extent)
                    _require_bytes(file, total, size)
        except ValueError as error:
            raise UsageError(f"{file} is damaged: it has {error}") from error
    return max(1, min(most, _max_bytes(size) // largest))


def _require_bytes(file: Path, total: int, size: int) -> None:
    if total > (most := _max_bytes(size)):
        raise UsageError(f"{file} unfolds to more than {most:,} bytes from {size:,}: split it into several files")


def _max_bytes(size: int) -> int:
    """The most bytes after decompression of a file of `size` bytes."""
    return MAX_BYTES + EXPANSION * size


READABLE = "data are a Parquet file, a CSV or TSV list, pictures, or a folder of them; arrays go through Python"


@contextmanager
def as_parquet(source: str) -> Iterator[None]:
    """Errors of pyarrow and Python for a broken file become a UsageError that names `source`."""
    try:
        yield
    except MosaicError:
        raise
    except Exception as error:  # of many types: wrong UTF-8, nesting too deep, no memory, …
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        hint = "" if source.lower().endswith(".parquet") else f" ({READABLE})"
        raise UsageError(f"{source} cannot be read as Parquet: {reason}{hint}") from error
