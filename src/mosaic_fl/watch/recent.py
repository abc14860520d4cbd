"""The latest events of a run, from the end of its `events.jsonl`, however long that is."""

import os
from pathlib import Path

from mosaic_fl.errors import UsageError
from mosaic_fl.storage.files import open_file, reason_of
from mosaic_fl.watch.event import Event, parse
from mosaic_fl.watch.watch import EVENTS

TAIL = 2**16  # bytes that are read


def recent_events(folder: Path, most: int) -> list[Event]:
    """The last `most` events of the run in `folder`, latest first, without those of progress.

    Fewer where they are long: the last 64 kB are read. Empty without the file. Raises UsageError where the file cannot
    be read.
    """
    path = folder / EVENTS
    if not path.exists():
        return []
    with open_file(path) as file:
        try:
            begin = max(os.fstat(file.fileno()).st_size - TAIL, 0)
            file.seek(begin)
            lines = file.read(TAIL).splitlines()
        except OSError as error:
            raise UsageError(f"cannot read {path}: {reason_of(path, error)}") from error
    events = [parse(line) for line in (lines[1:] if begin else lines)]  # the first one may be the end of a line
    told = [event for event in events if event is not None and event.kind != "stage_progress"]
    return told[::-1][:most]
