"""One process at a time in a run's folder."""

import os
import time
from pathlib import Path

from mosaic_fl.errors import UsageError

# times, and seconds between, that a folder is tried: `occupied` holds it for a moment
GLANCES = 4
GLANCE = 0.02
_held: tuple[int, tuple[int, int]] | None = None  # descriptor, and which folder it is


def occupy(folder: Path) -> None:
    """Keep other processes out of `folder` until this one ends, occupies another folder or vacates it.

    Raises UsageError where another process has it. A process that dies, in whatever way, leaves it free; those that
    this one starts do not keep it. Where there is no such folder, or the file system or the platform has no locks,
    nobody is kept out.
    """
    global _held
    try:
        import fcntl  # not on Windows

        descriptor = os.open(folder, os.O_RDONLY)  # closed where another program begins in this process
    except (ImportError, OSError):
        return
    status = os.fstat(descriptor)
    place = (status.st_dev, status.st_ino)
    if _held is not None and _held[1] == place:
        os.close(descriptor)
        return
    for left in reversed(range(GLANCES)):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError as error:
            if not left:
                os.close(descriptor)
                message = f"another process works in {folder}: wait until it ends, or choose another --out"
                raise UsageError(message) from error
            time.sleep(GLANCE)
        except OSError:  # no locks here
            os.close(descriptor)
            return
    vacate()
    _held = (descriptor, place)


def occupied(folder: Path) -> bool | None:
    """Whether some process has occupied `folder`; None where nobody can say."""
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
    global _held
    if _held is not None:
        os.close(_held[0])
        _held = None


if hasattr(os, "register_at_fork"):  # or a worker that outlives its parent by a moment would keep --resume out
    os.register_at_fork(after_in_child=vacate)
