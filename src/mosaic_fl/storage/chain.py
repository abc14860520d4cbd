"""A file of JSON lines that only grows. Each line names the hash of the one before it, so a change in it is seen.

A line that was altered, taken out or moved breaks the chain at its number. Lines cut off at the end cannot be seen from
the file alone: the last hash, noted elsewhere, shows them. Whoever may write the file can also write a whole new chain;
such a hash shows that, too.
"""

import contextlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.storage import received_json
from mosaic_fl.storage.files import path_text, read_if_there, sha256

MAX_CHAIN = 2**28  # bytes of such a file
FIRST = "0" * 64  # the hash before the first line
OWN = frozenset({"number", "time", "previous", "torn", "hash"})
"""What the chain itself writes into a line; no values have these names."""


@dataclass(frozen=True)
class Entry:
    """A line: its `number` from 1, the `time` in UTC, its `values` and its `hash`."""

    number: int
    time: str
    values: Mapping[str, Any]
    hash: str


@dataclass(frozen=True)
class Chain:
    """The entries of a file; `rest` is a last line without an end, which a crash left unfinished."""

    entries: tuple[Entry, ...]
    rest: bytes = b""

    @property
    def last(self) -> str:
        """The hash of the last entry, or `FIRST`."""
        return self.entries[-1].hash if self.entries else FIRST


def read_chain(path: Path) -> Chain:
    """The checked chain of a file; an empty one where there is no file.

    Raises UsageError that names the file and the first line that was altered, taken out or moved.
    """
    return parse_chain(read_if_there(path, MAX_CHAIN) or b"", path_text(path))


def parse_chain(data: bytes, source: str) -> Chain:
    """As `read_chain`, of the bytes of a file, which errors call `source`."""
    *lines, rest = data.split(b"\n")
    entries = list[Entry]()
    for place, line in enumerate(lines, 1):
        content = _content(line)
        fault = "it was altered" if content is None else _fault(content, entries)
        if content is None or fault is not None:
            raise UsageError(f"{source}, line {place}: {fault}; the file is not what was written")
        entries.append(_entry(content))
    return Chain(tuple(entries), rest)


def append(path: Path, make: Callable[[Sequence[Entry]], Mapping[str, Any]]) -> Entry:
    """Add the line that `make` gives for all earlier entries, and return it. The disk has it when this returns.

    No other process writes meanwhile, so `make` may decide by the entries, and raise. A line that a crash left
    unfinished gives way, and the new one says so (`torn`, in bytes): nobody was told that it was written. Raises
    UsageError for a broken chain, and MosaicError where the file cannot be written.
    """
    with _locked(path) as descriptor:
        data = _read_all(descriptor)
        chain = parse_chain(data, path_text(path))
        complete = _content(chain.rest) is not None  # all but its line's end was written
        if complete:
            chain = parse_chain(data + b"\n", path_text(path))
        values = make(chain.entries)
        assert not OWN & values.keys(), values
        line: dict[str, Any] = {
            **values,
            "number": len(chain.entries) + 1,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "previous": chain.last,
        }
        if chain.rest:
            line["torn"] = len(chain.rest)
            os.ftruncate(descriptor, len(data) - len(chain.rest))
        line["hash"] = _hash(line)
        _write(descriptor, (b"\n" if complete else b"") + _bytes(line) + b"\n")
        return _entry(line)


def _fault(content: Mapping[str, Any], before: Sequence[Entry]) -> str | None:
    """What is wrong with the next line after the entries `before`; None where nothing is."""
    if content["number"] != len(before) + 1:
        return f"it has the number {content['number']}, where {len(before) + 1} follows: lines were taken out or moved"
    if content["previous"] != (before[-1].hash if before else FIRST):
        return "it does not follow from the line before it, which was altered or taken out"
    return None


def _content(line: bytes) -> dict[str, Any] | None:
    """The content of a line whose own hash is right; None for anything else."""
    try:
        match content := received_json.loads(line.decode()):
            case {"number": int(), "time": str(), "previous": str(), "hash": str(own)}:
                return content if _hash(content) == own and _bytes(content) == line else None
    except ValueError:  # also for a number that JSON reads and does not write, as 1e999
        pass
    return None


def _entry(content: Mapping[str, Any]) -> Entry:
    values = {name: value for name, value in content.items() if name not in OWN}
    return Entry(content["number"], content["time"], values, content["hash"])


def _hash(content: Mapping[str, Any]) -> str:
    return sha256(_bytes({name: value for name, value in content.items() if name != "hash"}))


def _bytes(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """The file, made where it is not there, open for this process alone; raises MosaicError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = not path.exists()
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
        descriptor = os.open(path, flags, 0o600)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UsageError(f"{path_text(path)} is no regular file: name another one")
            with contextlib.suppress(ImportError):  # not on Windows
                import fcntl

                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if new:
                _keep_name(path.parent)
            yield descriptor
        finally:
            os.close(descriptor)  # which ends the lock
    except OSError as error:
        raise MosaicError(f"cannot write {path_text(path)}: {error.strerror}") from error


def _read_all(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    if size > MAX_CHAIN:
        raise UsageError(f"{size:,} bytes are too many for a log: move it away, and a new one begins")
    os.lseek(descriptor, 0, os.SEEK_SET)
    parts = list[bytes]()
    while part := os.read(descriptor, 2**20):
        parts.append(part)
    return b"".join(parts)


def _write(descriptor: int, content: bytes) -> None:
    sent = 0
    while sent < len(content):
        sent += os.write(descriptor, content[sent:])
    os.fsync(descriptor)


def _keep_name(folder: Path) -> None:
    """Make the disk keep the name of a new file, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
