"""Files of JSON lines that grow: what is added costs the same however long the file is."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mosaic_fl.errors import MosaicError
from mosaic_fl.storage.files import read_if_there, refusal


def json_lines(values: Iterable[Mapping[str, Any]]) -> str:
    """The text of such a file: a line a value."""
    return "".join(json.dumps(dict(value)) + "\n" for value in values)


def append(path: Path, values: Iterable[Mapping[str, Any]], *, lasting: bool = True) -> None:
    """Add a line a value at the end of the file, in one write; it is made where it is not there.

    A line that a kill left without its end stays a line of its own. With `lasting` the disk confirms the write. Raises
    MosaicError where the disk is full, read-only or otherwise refuses.
    """
    content = json_lines(values).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(size - 1)
                content = (b"" if file.read(1) == b"\n" else b"\n") + content
            while content:
                content = content[file.write(content) :]
            if lasting:
                os.fsync(file.fileno())
    except OSError as error:
        raise MosaicError(refusal(path, error)) from error


def read_lines(path: Path, most: int) -> Iterator[dict[str, Any]]:
    """The objects of the file's lines, of at most `most` bytes; a damaged line is left out, and a missing file empty.

    Raises UsageError where the file cannot be read.
    """
    for line in (read_if_there(path, most) or b"").splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield value
