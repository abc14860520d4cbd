"""Reads and writes files safely. A write is whole or does not happen; a read is of a regular file of limited size."""

import contextlib
import difflib
import errno
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from mosaic_fl.errors import MosaicError, UsageError

PARTIAL = ".partial"  # suffix of a file's name during its writing
FULL = (errno.ENOSPC, errno.EDQUOT)
MAX_TEXT = 64 * 2**20  # bytes of a file of settings, figures or keys
MAX_PATH_TEXT = 200  # characters of a path in an error
MAX_NAMES = 1000  # files of a folder among which a near name is looked for
_CHUNK = 2**20  # bytes of a read from a file that grows meanwhile
_KINDS = (
    (stat.S_ISDIR, "it is a folder, not a file"),
    (stat.S_ISFIFO, "it is a pipe, not a file: write what it gives into one first"),
    (stat.S_ISSOCK, "it is a socket, not a file"),
    (stat.S_ISCHR, "it is a device, not a file"),
    (stat.S_ISBLK, "it is a device, not a file"),
)


def open_file(path: Path) -> BinaryIO:
    """The regular file `path`, open for reading.

    Never waits: a pipe, a socket, a device or a folder is refused before it is opened. Raises UsageError that names the
    file and the reason; its cause is an OSError, as FileNotFoundError, or a ValueError.
    """
    try:
        _require_regular(os.stat(path))
        # Without blocking, in case a pipe has replaced the file meanwhile.
        file = os.fdopen(
            os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)), "rb", 0
        )
        try:
            _require_regular(os.fstat(file.fileno()))
        except OSError:
            file.close()
            raise
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path_text(path)}: {reason_of(path, error)}") from error
    return file


def require_path(path: Path) -> None:
    """Raise UsageError where the system cannot look `path` up: its name is too long, links form a circle, no access.

    After this check `path.exists()` and the like raise nothing.
    """
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path_text(path)}: {reason_of(path, error)}") from error


def require_file(path: Path) -> None:
    """Raise UsageError unless `path` is a regular, readable file. For libraries that open the file themselves."""
    open_file(path).close()


def read_bytes(path: Path, most: int = MAX_TEXT) -> bytes:
    """The content of a regular file of at most `most` bytes; raises UsageError that names it.

    A file that grows meanwhile is read to its new end, which must also be within `most`.
    """
    with open_file(path) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            if size > most:
                raise UsageError(f"{path_text(path)}: {size:,} bytes; at most {most:,} are read")
            content = file.read(size + 1)
            parts = [content]
            while parts[-1] and sum(map(len, parts)) <= most:
                parts.append(file.read(_CHUNK))
        except OSError as error:
            raise UsageError(f"cannot read {path_text(path)}: {reason_of(path, error)}") from error
    content = content if len(parts) <= 2 and not parts[-1] else b"".join(parts)
    if len(content) > most:
        raise UsageError(f"{path_text(path)} has no end: at most {most:,} bytes are read")
    return content


def read_if_there(path: Path, most: int = MAX_TEXT) -> bytes | None:
    """As `read_bytes`; None where no such file exists."""
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
        raise UsageError(f"{path_text(path)} is not text in UTF-8 (byte {error.start})") from error


def reason_of(path: Path, error: Exception) -> str:
    """Why the system refuses `path`, as text."""
    if isinstance(error, OSError):
        if error.errno == errno.ENOENT and path.is_symlink():
            return "it is a link to what does not exist"
        if error.errno == errno.ENOENT:
            return "; ".join(filter(None, (error.strerror, near_hint(path))))
        return error.strerror or str(error)
    return "no file can have that name"  # a null byte, or half a character


def near_hint(path: Path) -> str:
    """The way out where there is no file `path`: the nearest name beside it, or where a path begins."""
    names = list[str]()
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        names = [entry.name for entry in islice(entries, MAX_NAMES)]
    near = difflib.get_close_matches(path.name[:MAX_PATH_TEXT], names, n=1)
    if near:
        return f"did you mean {path_text(path.parent / near[0])}?"
    return "" if path.is_absolute() else "a path begins in the current folder"


def path_text(path: Path) -> str:
    """A path as text for an error: one printable line, without the middle of a very long path."""
    text = "".join(letter if letter.isprintable() else "?" for letter in str(path))
    return text if len(text) <= MAX_PATH_TEXT else f"{text[: MAX_PATH_TEXT // 2]}…{text[-MAX_PATH_TEXT // 4 :]}"


def _require_regular(status: os.stat_result) -> None:
    for is_kind, words in _KINDS:
        if is_kind(status.st_mode):
            raise OSError(None, words)


def remove_partial(folder: Path) -> None:
    """Delete the half-written files of a killed process in `folder` or below."""
    for path in folder.rglob(f".*{PARTIAL}"):
        path.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes | str, *, lasting: bool = True) -> None:
    """Write `data` to `path` as a whole: a reader never sees a part of it, even where a kill ends the writing.

    With `lasting` the disk confirms the write; without it a loss of power may leave an empty file. Raises MosaicError
    where the disk is full, read-only or otherwise refuses.
    """
    content = data.encode() if isinstance(data, str) else data
    with atomic_file(path, lasting=lasting) as file:
        file.write(content)


def write_secret(path: Path, content: bytes) -> None:
    """As `write_atomic`, and this user alone can read the file."""
    mask = os.umask(0o077)
    try:
        write_atomic(path, content)
    finally:
        os.umask(mask)


@contextlib.contextmanager
def atomic_file(path: Path, *, lasting: bool = True) -> Iterator[BinaryIO]:
    """A file to write within the block. It appears at `path` when the block ends, and is deleted if the block fails.

    `lasting` is as in `write_atomic`. Raises MosaicError where the disk is full, read-only or otherwise refuses.
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
        raise MosaicError(refusal(path, error)) from error


def require_writable(path: Path) -> None:
    """Raise UsageError, before any work, where `path` cannot be written. Creates its folder."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL):
            pass
    except OSError as error:
        raise UsageError(refusal(path, error)) from error


def require_place(path: Path) -> None:
    """As `require_writable`, but without writing anything, so it cannot notice every obstacle."""
    place = path.parent
    while not place.exists() and place != place.parent:
        place = place.parent
    number = errno.ENOTDIR if not place.is_dir() else 0 if os.access(place, os.W_OK | os.X_OK) else errno.EACCES
    if number:
        raise UsageError(refusal(path, OSError(number, os.strerror(number))))


def refusal(path: Path, error: OSError) -> str:
    """Why `path` cannot be written, and the way out."""
    advice = "free some space, or choose another --out" if error.errno in FULL else "choose another --out"
    return f"cannot write {path}: {error.strerror}; {advice}"


def _umask() -> int:
    """The process's umask, which `mkstemp` ignores. To read it one must set it for a moment."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def sha256(*parts: bytes | memoryview) -> str:
    """The hexadecimal SHA-256 of the parts, each after its length, so that no two splits of the same bytes collide."""
    return sha256_of_each(parts)


def sha256_of_each(parts: Iterable[bytes | memoryview]) -> str:
    """As `sha256`; one of the parts at a time is in memory where they are made as they are asked."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return digest.hexdigest()
