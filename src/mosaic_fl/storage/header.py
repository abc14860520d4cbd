"""The header of a file of this package, which says what it holds; it is read without the tensors, and without torch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mosaic_fl.errors import UsageError
from mosaic_fl.storage.encryption import MAGIC, is_encrypted
from mosaic_fl.storage.files import open_file, path_text

FORMAT = "mosaic-fl"
NOT_OURS = f"not a {FORMAT} file: name one that mosaic wrote"
MAX_HEADER = 16 * 2**20
MAX_LISTS = 2**20  # lists and objects in it: each may have 3 bytes, and takes 64 in memory. A tensor has three


@dataclass(frozen=True)
class Header:
    """A file's header: its JSON `tree`, the manifest's text (`content`), the SHA-256 that it says, and its `end`."""

    tree: dict[str, Any]
    content: str
    digest: str
    end: int


def require_ours(path: Path) -> None:
    """Raise UsageError for a file that cannot be one of this format, nor encrypted, by its first bytes alone.

    So a wrong name is told at once. A file that passes may be damaged all the same.
    """
    with open_file(path) as file:
        begin = file.read(max(9, len(MAGIC)))
    is_header = begin[8:9] == b"{" and int.from_bytes(begin[:8], "little") <= MAX_HEADER
    if not is_header and not is_encrypted(begin):
        raise UsageError(f"{path_text(path)}: {NOT_OURS}")


def read_header(data: bytes, source: str) -> Header:
    """The header of a file of this format, of which nothing else is checked; raises UsageError that names `source`."""
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > MAX_HEADER:
        raise UsageError(f"{source}: {NOT_OURS}")
    if 8 + size > len(data):
        raise UsageError(f"{source}: truncated, or {NOT_OURS}")
    if (lists := sum(data.count(sign, 8, 8 + size) for sign in (b"[", b"{"))) > MAX_LISTS:
        raise UsageError(f"{source}: a header of {lists:,} lists; at most {MAX_LISTS:,} are read")
    try:
        header = json.loads(data[8 : 8 + size], object_pairs_hook=_unique)
        match json.loads(header["__metadata__"][FORMAT], object_pairs_hook=_unique):
            case {"content": str(content), "sha256": str(digest)}:
                content.encode()  # JSON may hold half a character, which has no bytes to hash
                return Header(header, content, digest, 8 + size)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise UsageError(f"{source}: {NOT_OURS}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; raises ValueError where a name occurs twice, of which two readers may take different values."""
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError
    return values
