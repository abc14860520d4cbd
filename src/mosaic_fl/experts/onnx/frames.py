"""Messages between this process and a model's: a JSON object and raw bytes, each with its length before it."""

import json
import struct
from typing import Any, BinaryIO

LENGTHS = struct.Struct("<IQ")  # bytes of the JSON text, bytes that follow it
MAX_HEADER = 2**20


def pack(header: dict[str, Any], size: int = 0) -> bytes:
    """The beginning of a message, after which `size` bytes follow."""
    text = json.dumps(header).encode()
    return LENGTHS.pack(len(text), size) + text


def read(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """The next message of a stream, or None at its end. The sender is trusted: these are requests."""
    start = stream.read(LENGTHS.size)
    if len(start) < LENGTHS.size:
        return None
    text, size = LENGTHS.unpack(start)
    header = json.loads(stream.read(text))
    return header, stream.read(size)
