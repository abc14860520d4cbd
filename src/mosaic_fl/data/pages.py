"""The sizes of the pages of a Parquet file, from their headers, before any page is decompressed.

A reader reserves the memory that the header of a page says, up to 2 GiB, whatever the summary of the file says. pyarrow
does not show headers, and some broken summaries make it end the process. So both are read here.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from mosaic_fl.data.thrift import I32, I64, ThriftReader, TooShortError

# Fields of a page's header, and of the summary: row groups, their columns, and the metadata of columns.
_EXTENT = 2  # bytes after decompression
_LENGTH = 3  # bytes in the file
_HEADER = {_EXTENT: I32, _LENGTH: I32}
_GROUPS = 4
_COLUMNS = 1
_METADATA = 3
_VALUES = 5
_SIZE = 7
_DATA = 9
_DICTIONARY = 11
_SUMMARY = {_GROUPS: [{_COLUMNS: [{_METADATA: {_VALUES: I64, _SIZE: I64, _DATA: I64, _DICTIONARY: I64}}]}]}

# Bytes to read for a header, in turn: statistics make some long. pyarrow reads at most the last number.
LENGTHS = (2**10, 2**14, 2**18, 2**24)
PARTS = 2**12  # values in a header; 30 are usual
END = 8  # bytes after the summary: its length, and a mark


@dataclass(frozen=True)
class Chunk:
    """A column of a row group: `column` is its number in the schema; its pages are `size` bytes from `start` on."""

    column: int
    start: int
    size: int


def chunks(file: BinaryIO) -> Iterator[Chunk]:
    """The column chunks of a Parquet file that hold values; raises ValueError for an invalid summary."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - END))
    length = int.from_bytes(file.read(END)[:4], "little")
    if length > end - END:
        raise ValueError("a summary that is longer than the file")
    file.seek(end - END - length)
    remaining = end
    for group in _parse(file.read(length)).get(_GROUPS, []):
        for column, chunk in enumerate(group.get(_COLUMNS, [])):
            metadata = chunk.get(_METADATA, {})
            if metadata.get(_VALUES):
                start = metadata.get(_DATA, 0)
                if 0 < (dictionary := metadata.get(_DICTIONARY, 0)) < start:
                    start = dictionary
                remaining -= (size := metadata.get(_SIZE, 0))
                if start < 0 or size < 0 or remaining < 0:
                    raise ValueError("columns that are nowhere, or longer than the file")
                yield Chunk(column, start, size)


def page_sizes(file: BinaryIO, chunk: Chunk) -> Iterator[int]:
    """The decompressed size of each page of a chunk, in bytes; raises ValueError for an invalid header."""
    start = chunk.start
    while start < chunk.start + chunk.size:
        extent, length, header = _header(file, start)
        yield extent
        start += header + length


def _parse(summary: bytes) -> "dict[int, list[dict[int, list[dict[int, dict[int, int]]]]]]":
    try:
        return ThriftReader(summary, len(summary)).struct(_SUMMARY)
    except ValueError as error:
        raise ValueError(f"a summary with {error}") from error


def _header(file: BinaryIO, start: int) -> tuple[int, int, int]:
    """(bytes after decompression, bytes in the file, length of the header) of the page at `start`."""
    for most in LENGTHS:
        file.seek(start)
        reader = ThriftReader(file.read(most), PARTS)
        try:
            sizes = reader.struct(_HEADER)
        except TooShortError:  # the header is longer
            continue
        except ValueError as error:
            raise ValueError(f"a page whose header has {error}") from error
        extent = sizes.get(_EXTENT, -1)
        length = sizes.get(_LENGTH, -1)
        if not (0 <= extent < 2**31 and 0 <= length < 2**31):
            raise ValueError("a page whose header has no size")
        return extent, length, reader.place
    raise ValueError("a page whose header has no end")
