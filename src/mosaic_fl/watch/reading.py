"""Reads the status of another process's run from the run's folder. `mosaic status` uses it."""

import json
import os
import platform
from pathlib import Path

from mosaic_fl.errors import UsageError
from mosaic_fl.storage.files import read_if_there, require_path
from mosaic_fl.watch.event import read_events
from mosaic_fl.watch.rules import fold
from mosaic_fl.watch.status import Status
from mosaic_fl.watch.watch import EVENTS, STATUS


def read_status(folder: Path) -> Status | None:
    """The status of the run in `folder`. None where there is no folder, or neither a status nor events in it.

    Without a `status.json` the status is computed from the events. Raises UsageError for a file that is no status.
    """
    path = folder / STATUS
    require_path(folder)
    if not folder.is_dir():
        return None
    content = read_if_there(path)
    if content is None:
        events = read_events(folder / EVENTS)
        return fold(events) if events else None
    try:
        return Status.from_json(json.loads(content))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read: {error}; delete it, and {EVENTS} is read instead") from error


def alive(status: Status) -> bool | None:
    """Whether the run's process is alive. None for a run that has ended, and for one on another machine."""
    if status.ended or status.pid <= 0 or status.host != platform.node() or os.name != "posix":
        return None
    try:
        os.kill(status.pid, 0)  # signal 0 only asks whether the process exists
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's process
        return True
    return True
