"""What the pages of a Parquet file ask for, as their headers say, before any of them is decompressed.

By its header a reader reserves memory for a page, up to 2 GiB, whatever the summary of the file says. pyarrow shows no
header, and ends the process where it is asked for some parts of a broken summary; so both are read here.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from mosaic_fl.data.thrift import I32, I64, ThriftReader, TooShortError

# The fields that matter of a page's header, and of the summary: row groups, their columns, the metadata of these.
_EXTENT = 2  # unfolded
_LENGTH = 3  # as it lies in the file
_HEADER = {_EXTENT: I32, _LENGTH: I32}
_GROUPS = 4
_COLUMNS = 1
_METADATA = 3
_VALUES = 5
_SIZE = 7
_DATA = 9
_DICTIONARY = 11
_SUMMARY = {_GROUPS: [{_COLUMNS: [{_METADATA: {_VALUES: I64, _SIZE: I64, _DATA: I64, _DICTIONARY: I64}}]}]}

# Bytes of a header that are tried: statistics make it long. pyarrow reads no more than the last.
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
    """The column chunks of a Parquet file that hold values; raises ValueError where its summary is none."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - END))
    length = int.from_bytes(file.read(END)[:4], "little")
    if length > end - END:
        raise ValueError("a summary that is longer than the file")
    file.seek(end - END - length)
    left = end
    for group in _parse(file.read(length)).get(_GROUPS, []):
        for column, chunk in enumerate(group.get(_COLUMNS, [])):
            metadata = chunk.get(_METADATA, {})
            if metadata.get(_VALUES):
                start = metadata.get(_DATA, 0)
                if 0 < (dictionary := metadata.get(_DICTIONARY, 0)) < start:
                    start = dictionary
                left -= (size := metadata.get(_SIZE, 0))
                if start < 0 or size < 0 or left < 0:
                    raise ValueError("columns that are nowhere, or longer than the file")
                yield Chunk(column, start, size)


def page_sizes(file: BinaryIO, chunk: Chunk) -> Iterator[int]:
    """How many bytes each page of a chunk unfolds to; raises ValueError for a header that is none."""
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
    """Of the page at `start`: its bytes unfolded and as stored, and the length of its header."""
    for most in LENGTHS:
        file.seek(start)
        reader = ThriftReader(file.read(most), PARTS)
        try:
            sizes = reader.struct(_HEADER)
        except TooShortError:  # it goes on
            continue
        except ValueError as error:
            raise ValueError(f"a page whose header has {error}") from error
        extent = sizes.get(_EXTENT, -1)
        length = sizes.get(_LENGTH, -1)
        if not (0 <= extent < 2**31 and 0 <= length < 2**31):
            raise ValueError("a page whose header has no size")
        return extent, length, reader.place
    raise ValueError("a page whose header has no end")
