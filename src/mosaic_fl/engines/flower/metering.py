"""The size of a reply while it comes from Flower's hub: it is refused before more than the limit is in memory.

Flower keeps a message as objects: a tree of records, and pieces of their bytes. The server's app fetches one object
after the other, so each is counted as it comes. An array names its pieces, and may name one piece a million times:
Flower would put it together as often, so names are counted as pieces.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from flwr.app import Array
from flwr.common.constant import FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE as PIECE
from flwr.supercore.inflatable.inflatable_object import (
    get_object_body,
    get_object_head_values_from_object_content,
)

from mosaic_fl.engines.flower.wire import MAX_HEAD
from mosaic_fl.errors import UsageError

MARGIN = 2 * MAX_HEAD + 2**20  # bytes of a message beside its body
ARRAYS = 2  # of a message: the last piece of each may be small
MAX_NAMES = 2**20  # bytes of an array's list of pieces, of which 8 GiB need 100 kB
WAY_OUT = "--max-answer MB at the server raises this"


class Meter:
    """Counts the objects of one reply; `count` raises UsageError where they are more than `most` bytes and a margin."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.bytes = 0
        self.pieces = 0
        self._lock = Lock()  # Flower fetches several objects at once

    def count(self, content: bytes) -> None:
        """Add an object's bytes, and the pieces that it names."""
        kind, _, _ = get_object_head_values_from_object_content(content)
        named = 0
        if kind == "ArrayChunk" and len(content) > PIECE + MAX_NAMES:
            raise UsageError(f"it has a piece of {len(content):,} bytes, where pieces have {PIECE:,}")
        if kind == "Array":
            if len(content) > MAX_NAMES:
                raise self._excess(f"an array with {len(content):,} bytes of names of pieces")
            body: Any = json.loads(get_object_body(content, Array))
            named = len(body["arraychunk_ids"])
        with self._lock:
            self.bytes += len(content)
            self.pieces += named
            if self.bytes > self.most + MARGIN:
                raise self._excess("more")
            if (self.pieces - ARRAYS) * PIECE > self.most + MARGIN:
                raise self._excess(f"{self.pieces:,} pieces of up to {PIECE:,} bytes")

    def _excess(self, what: str) -> UsageError:
        return UsageError(f"it has {what}: at most {self.most:,} bytes are read; {WAY_OUT}")


@contextmanager
def metered(grid: Any, most: int) -> Iterator[None]:
    """Within the block the objects of one reply are counted as `grid` fetches them.

    A grid in this process fetches nothing: its replies are here already, and are measured when they are read.
    """
    client = getattr(grid, "_runtime_client", None)
    if client is None:
        yield
        return
    meter = Meter(most)
    fetch = client.PullObject

    def counted(request: Any) -> Any:
        response = fetch(request)
        if response.object_content:
            meter.count(response.object_content)
        return response

    client.PullObject = counted
    try:
        yield
    finally:
        del client.PullObject  # the method of its class is there again
