"""What a reader is to the fuzzer, and what its descriptions share."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from mosaic_fl.errors import UsageError

Mutate = Callable[[bytes, Sequence[bytes], Random], bytes]


@dataclass(frozen=True)
class Reader:
    """`corpus(folder)` gives good inputs, and `read(input, folder)` reads one, in a folder that it may write to."""

    corpus: Callable[[Path], list[bytes]]
    mutate: Mutate
    read: Callable[[bytes, Path], object]


def read_any(*reads: Callable[[], object]) -> None:
    """Have several readers read; raises UsageError where every one of them refuses."""
    refusals = list[UsageError]()
    for read in reads:
        try:
            read()
        except UsageError as error:
            refusals.append(error)
    if len(refusals) == len(reads):
        raise refusals[0]


def parsed(data: bytes) -> Any:
    """The JSON value of these bytes, or None."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def written(path: Path, data: bytes) -> Path:
    """`path`, with this content."""
    path.write_bytes(data)
    return path
