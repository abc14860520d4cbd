"""A Parquet file that may hold anything -> a table, or one line that says why not."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mosaic_fl.data.pages import chunks, page_sizes
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.storage.files import open_file, require_file

# What a file may claim: a few bytes of a compressed column can stand for terabytes.
MAX_ROWS = 2**24  # of a small file; of a large one, a row more for each byte
MAX_BYTES = 2**27
EXPANSION = 64  # bytes more for each byte of a large one
BATCH = 1024  # rows at a time, so that a claim is seen before all of it is there


def read_table(file: Path, wanted: Callable[[Any], Sequence[str]]) -> Any:
    """The columns `wanted(schema)` of a file as a pyarrow table.

    Raises UsageError for what is no file or no Parquet, and for more rows or bytes than a file of its size can mean.
    """
    with open_parquet(file) as parquet:
        import pyarrow as pa

        columns = list(wanted(parquet.schema_arrow))
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
    """The `pyarrow.parquet.ParquetFile`; raises UsageError for what is no file or no Parquet, or fails in the block."""
    require_file(file)
    with as_parquet(str(file)):
        import pyarrow.parquet as pq

        with pq.ParquetFile(file) as parquet:
            yield parquet


def rows_at_once(file: Path, parquet: Any, columns: Sequence[str], most: int) -> int:
    """How many rows, 1..`most`, of these stored columns may be unfolded at once, even if all have the largest value.

    Nothing is unfolded to find out. Raises UsageError for more rows or bytes than a file of its size can mean, and for
    a summary or a page that cannot be understood.
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
    return max(1, min(most, _bound(size) // largest))


def _require_bytes(file: Path, total: int, size: int) -> None:
    if total > (most := _bound(size)):
        raise UsageError(f"{file} unfolds to more than {most:,} bytes from {size:,}: split it into several files")


def _bound(size: int) -> int:
    """What a file of `size` bytes may unfold to."""
    return MAX_BYTES + EXPANSION * size


@contextmanager
def as_parquet(source: str) -> Iterator[None]:
    """Whatever pyarrow and Python raise for a broken file becomes a UsageError that names `source`."""
    try:
        yield
    except MosaicError:
        raise
    except Exception as error:  # wrong UTF-8, too deeply nested, no memory, …: of many kinds
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UsageError(f"{source} cannot be read as Parquet: {reason}") from error
