"""Files: written whole or not at all, and read only where they are files, of a size that is known before."""

import contextlib
import errno
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mosaic_fl.errors import MosaicError, UsageError

PARTIAL = ".partial"  # ends the name of a file that is being written
FULL = (errno.ENOSPC, errno.EDQUOT)
MAX_TEXT = 64 * 2**20  # bytes of a file of settings, figures or keys
MAX_SHOWN = 200  # characters of a path in an error
_AT_ONCE = 2**20  # bytes that are read at once of a file that is longer than it said
_KINDS = (
    (stat.S_ISDIR, "it is a folder, not a file"),
    (stat.S_ISFIFO, "it is a pipe, not a file: write what it gives into one first"),
    (stat.S_ISSOCK, "it is a socket, not a file"),
    (stat.S_ISCHR, "it is a device, not a file"),
    (stat.S_ISBLK, "it is a device, not a file"),
)


def open_file(path: Path) -> BinaryIO:
    """The regular file `path`, open for reading.

    Never waits: a pipe, a socket or a device is refused before it is opened, as is a folder. Raises UsageError that
    names the file and why it cannot be read, FileNotFoundError among the causes.
    """
    try:
        _require_regular(os.stat(path))
        # Not blocking, should a pipe have taken the file's place by now.
        file = os.fdopen(
            os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)), "rb", 0
        )
        try:
            _require_regular(os.fstat(file.fileno()))
        except OSError:
            file.close()
            raise
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {shown_path(path)}: {reason_of(path, error)}") from error
    return file


def require_path(path: Path) -> None:
    """Raise UsageError where `path` can neither be there nor be missing: too long a name, links in a circle, no access.

    After it `path.exists()` and what else asks for it raise nothing.
    """
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {shown_path(path)}: {reason_of(path, error)}") from error


def require_file(path: Path) -> None:
    """Raise UsageError unless `path` is a regular file that can be read, for a library that opens it by itself."""
    open_file(path).close()


def read_bytes(path: Path, most: int = MAX_TEXT) -> bytes:
    """The content of a regular file of at most `most` bytes; raises UsageError that names it.

    A file that grows meanwhile is read to its new end, and no further than `most`.
    """
    with open_file(path) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            if size > most:
                raise UsageError(f"{shown_path(path)}: {size:,} bytes; at most {most:,} are read")
            content = file.read(size + 1)
            parts = [content]
            while parts[-1] and sum(map(len, parts)) <= most:
                parts.append(file.read(_AT_ONCE))
        except OSError as error:
            raise UsageError(f"cannot read {shown_path(path)}: {reason_of(path, error)}") from error
    content = content if len(parts) <= 2 and not parts[-1] else b"".join(parts)
    if len(content) > most:
        raise UsageError(f"{shown_path(path)} has no end: at most {most:,} bytes are read")
    return content


def read_if_there(path: Path, most: int = MAX_TEXT) -> bytes | None:
    """As `read_bytes`; None where nothing of that name is there."""
    try:
        return read_bytes(path, most)
    except UsageError as error:
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            return None
        raise


def read_text(path: Path, most: int = MAX_TEXT) -> str:
    """The UTF-8 text of a file; raises UsageError that names it."""
    try:
        return read_bytes(path, most).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{shown_path(path)} is not text in UTF-8 (byte {error.start})") from error


def reason_of(path: Path, error: Exception) -> str:
    """Why the system refuses `path`, in words."""
    if isinstance(error, OSError):
        if error.errno == errno.ENOENT and path.is_symlink():
            return "it is a link to what does not exist"
        return error.strerror or str(error)
    return "no file can have that name"  # a null byte, or half a character


def shown_path(path: Path) -> str:
    """A path for one line of an error: printable, and its middle left out where it is very long."""
    text = "".join(letter if letter.isprintable() else "?" for letter in str(path))
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN // 2]}…{text[-MAX_SHOWN // 4 :]}"


def _require_regular(status: os.stat_result) -> None:
    for is_kind, words in _KINDS:
        if is_kind(status.st_mode):
            raise OSError(None, words)


def remove_partial(folder: Path) -> None:
    """Delete what a killed process left half-written in `folder` or below."""
    for path in folder.rglob(f".*{PARTIAL}"):
        path.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes | str, *, lasting: bool = True) -> None:
    """Write `data` to `path`: a reader, or a process killed half-way, sees all of it or nothing.

    What is not `lasting` is not waited for: a machine that loses its power may leave an empty file. Raises MosaicError
    where the disk is full, read-only or otherwise refuses.
    """
    content = data.encode() if isinstance(data, str) else data
    with atomic_file(path, lasting=lasting) as file:
        file.write(content)


@contextlib.contextmanager
def atomic_file(path: Path, *, lasting: bool = True) -> Iterator[BinaryIO]:
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
                if lasting:
                    os.fsync(file.fileno())
            os.chmod(name, 0o666 & ~_umask())
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
    except OSError as error:
        raise MosaicError(_refusal(path, error)) from error


def require_writable(path: Path) -> None:
    """Raise UsageError, before any work, where `path` could not be written; its folder is made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL):
            pass
    except OSError as error:
        raise UsageError(_refusal(path, error)) from error


def require_place(path: Path) -> None:
    """Raise UsageError where `require_writable` would, as far as that can be seen without writing anything."""
    place = path.parent
    while not place.exists() and place != place.parent:
        place = place.parent
    number = errno.ENOTDIR if not place.is_dir() else 0 if os.access(place, os.W_OK | os.X_OK) else errno.EACCES
    if number:
        raise UsageError(_refusal(path, OSError(number, os.strerror(number))))


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
