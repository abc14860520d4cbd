"""The file of an answer: a line of JSON with the hash of the body, and the body. Both ends store answers so."""

import json
from pathlib import Path
from typing import Any

from mosaic_fl.errors import UsageError
from mosaic_fl.storage.container import MAX_FILE
from mosaic_fl.storage.files import read_if_there, sha256, write_atomic


def write(path: Path, head: dict[str, Any], body: bytes, digest: str = "") -> None:
    """Write the file atomically. `digest` is the body's SHA-256 where the caller has it; else it is computed."""
    write_atomic(path, json.dumps({**head, "sha256": digest or sha256(body)}).encode() + b"\n" + body)


def read(path: Path | None) -> tuple[dict[str, Any], bytes] | None:
    """(head, body) of a file from `write`; None where it is absent or damaged."""
    try:
        content = None if path is None else read_if_there(path, MAX_FILE)
    except UsageError:
        return None
    if content is None:
        return None
    line, _, body = content.partition(b"\n")
    try:
        head = json.loads(line)
        return (head, body) if head.pop("sha256") == sha256(body) else None
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return None
