"""One piece of work at a time at a client, though a process of an earlier start of the server may still be at work."""

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
    """Within the block nobody else works in `folder`; gives the reason why there is nothing to do, or "".

    One process works and one waits; who comes beside these is told so at once, or they would fill the memory. Who
    waited and finds that a newer request (of a greater `serial`) has come meanwhile has nothing to do. Without a
    folder, and where the system has no such locks, nobody waits. A killed process holds no lock.
    """
    if folder is None or os.name != "posix":
        yield ""
        return
    folder.mkdir(parents=True, exist_ok=True)
    latest = folder / ".latest"
    with contextlib.ExitStack() as held:
        waiting = held.enter_context((folder / ".waiting").open("w"))
        working = held.enter_context((folder / ".working").open("w"))
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
