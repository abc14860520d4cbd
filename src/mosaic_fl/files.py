"""Files that are either whole or absent."""

import contextlib
import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mosaic_fl.errors import MosaicError, UsageError

PARTIAL = ".partial"  # ends the name of a file that is being written
FULL = (errno.ENOSPC, errno.EDQUOT)


def remove_partial(folder: Path) -> None:
    """Delete what a killed process left half-written in `folder` or below."""
    for path in folder.rglob(f".*{PARTIAL}"):
        path.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write `data` to `path`: a reader, or a process killed half-way, sees all of it or nothing.

    Raises MosaicError where the disk is full, read-only or otherwise refuses.
    """
    content = data.encode() if isinstance(data, str) else data
    with atomic_file(path) as file:
        file.write(content)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file to be written within the block, which is at `path` once the block has ended, and nowhere if it fails.

    Raises MosaicError where the disk is full, read-only or otherwise refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o666 & ~_umask())
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
    except OSError as error:
        raise MosaicError(_refusal(path, error)) from error


def require_file(path: Path) -> None:
    """Raise UsageError where there is nothing to read at `path`."""
    try:
        if path.is_dir():
            raise UsageError(f"{path} is a folder: name a file in it")
        path.stat()
    except (OSError, ValueError) as error:  # a name may be too long, or hold a null byte
        raise UsageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


def require_writable(path: Path) -> None:
    """Raise UsageError, before any work, where `path` could not be written; its folder is made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL):
            pass
    except OSError as error:
        raise UsageError(_refusal(path, error)) from error


def _refusal(path: Path, error: OSError) -> str:
    way_out = "free some space, or choose another --out" if error.errno in FULL else "choose another --out"
    return f"cannot write {path}: {error.strerror}; {way_out}"


def _umask() -> int:
    """The user's mask, which `mkstemp` ignores; reading it means setting it for a moment."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def sha256(*parts: bytes | memoryview) -> str:
    """The hexadecimal SHA-256 of the parts, each preceded by its length, so that no two splits collide."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return digest.hexdigest()
