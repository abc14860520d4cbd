"""A Parquet file that may hold anything -> a table, or one line that says why not."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.storage.files import require_file

# What a file may claim: a few bytes of a compressed column can stand for terabytes.
MAX_ROWS, MAX_BYTES = 2**24, 2**27  # of a small file; a row more for each byte of a large one, and 64 bytes
EXPANSION = 64
BATCH = 1024  # rows at a time, so that a claim is seen before all of it is there


def read_table(file: Path, wanted: Callable[[Any], Sequence[str]]) -> Any:
    """The columns `wanted(schema)` of a file as a pyarrow table.

    Raises UsageError for what is no file or no Parquet, and for more rows or bytes than a file of its size can mean.
    """
    require_file(file)
    with as_parquet(str(file)):
        import pyarrow as pa
        import pyarrow.parquet as pq

        size = file.stat().st_size
        parquet = pq.ParquetFile(file)
        columns = list(wanted(parquet.schema_arrow))
        if (rows := parquet.metadata.num_rows) > MAX_ROWS + size:
            raise UsageError(f"{file} claims {rows:,} rows in {size:,} bytes: split it into several files")
        batches, total = list[Any](), 0
        for batch in parquet.iter_batches(BATCH, columns=columns):
            total += batch.nbytes
            if total > MAX_BYTES + EXPANSION * size:
                raise UsageError(
                    f"{file} unfolds to more than {total:,} bytes from {size:,}: split it into several files"
                )
            batches.append(batch)
        return pa.Table.from_batches(batches) if batches else parquet.read(columns)


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
