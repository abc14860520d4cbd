"""The lock of a run's folder: one process at a time works in it. Commands that write a run take it."""

import os
import time
from pathlib import Path

from mosaic_fl.errors import UsageError

# Attempts to lock a folder, and seconds between two: `occupied` of another process locks it for a moment.
ATTEMPTS = 4
PAUSE = 0.02
_lock: tuple[int, tuple[int, int]] | None = None  # descriptor, and the identity of its folder


def occupy(folder: Path) -> None:
    """Keep other processes out of `folder` until this one ends, occupies another folder or vacates it.

    Raises UsageError where another process has the folder. The end of a process, in whatever way, frees it; child
    processes do not inherit the lock. Does nothing where there is no such folder, or where the file system or the
    platform has no locks.
    """
    global _lock
    try:
        import fcntl  # not on Windows

        descriptor = os.open(folder, os.O_RDONLY)  # `exec` of another program closes it
    except (ImportError, OSError):
        return
    status = os.fstat(descriptor)
    identity = (status.st_dev, status.st_ino)
    if _lock is not None and _lock[1] == identity:
        os.close(descriptor)
        return
    for attempt in range(ATTEMPTS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError as error:
            if attempt == ATTEMPTS - 1:
                os.close(descriptor)
                message = f"another process works in {folder}: wait until it ends, or choose another --out"
                raise UsageError(message) from error
            time.sleep(PAUSE)
        except OSError:  # the file system has no locks
            os.close(descriptor)
            return
    vacate()
    _lock = (descriptor, identity)


def occupied(folder: Path) -> bool | None:
    """Whether some process has occupied `folder`; None where there is no such folder, or no locks."""
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(descriptor)


def vacate() -> None:
    """Let other processes into the folder that this one occupies, if it does."""
    global _lock
    if _lock is not None:
        os.close(_lock[0])
        _lock = None


if hasattr(os, "register_at_fork"):  # else a worker that outlives its parent for a moment would block --resume
    os.register_at_fork(after_in_child=vacate)
