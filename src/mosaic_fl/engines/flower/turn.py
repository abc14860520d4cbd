"""The lock of a client's folder: one task at a time, even if a process from before the server's restart still works."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from mosaic_fl.errors import UsageError
from mosaic_fl.storage.files import read_text

BUSY = "it is still at work on an earlier request"
OLD = "a newer request came before its turn"


@contextlib.contextmanager
def alone(folder: Path | None, serial: int) -> Iterator[str]:
    """Within the block no other process works in `folder`; gives "" or the reason why the caller must not work.

    One process works and one waits. Any further process gets a reason at once, since waiting processes would fill the
    memory. A process that has waited gets a reason if a newer request (with a greater `serial`) has come meanwhile.
    Without a folder, or where the system has no such locks, nothing waits. A kill frees the lock.
    """
    if folder is None or os.name != "posix":
        yield ""
        return
    folder.mkdir(parents=True, exist_ok=True)
    latest = folder / ".latest"
    with contextlib.ExitStack() as files:
        waiting = files.enter_context((folder / ".waiting").open("w"))
        working = files.enter_context((folder / ".working").open("w"))
        _note(latest, serial)
        if not _lock(working, wait=False):
            if not _lock(waiting, wait=False):
                yield BUSY
                return
            _lock(working, wait=True)
            _unlock(waiting)
        yield OLD if _read(latest) > serial else ""


def _note(path: Path, serial: int) -> None:
    if serial > _read(path):
        path.write_text(str(serial))


def _read(path: Path) -> int:
    try:
        return int(read_text(path))
    except (UsageError, ValueError):
        return 0


def _lock(file: IO[str], *, wait: bool) -> bool:
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def _unlock(file: IO[str]) -> None:
    import fcntl

    fcntl.flock(file, fcntl.LOCK_UN)
