"""How a run ends: its result is written, its stages go. One that has ended is not done again."""

import json
from pathlib import Path
from typing import Any

from mosaic_fl.notes import note
from mosaic_fl.runs.result import FILE, Result, finished
from mosaic_fl.storage.files import write_atomic
from mosaic_fl.storage.journal import Journal


def conclude(result: Result, journal: Journal, *, keep_stages: bool = False) -> dict[str, Any]:
    """Write the curves and `result.json` into the journal's folder, whose stages no resume needs then.

    Returns the content of `result.json`. Stages are deleted, unless `keep_stages`.
    """
    assert journal.folder is not None
    journal.write_metrics()
    content = result.to_json()
    write_atomic(journal.folder / FILE, json.dumps(content, indent=2) + "\n")
    if not keep_stages:
        journal.clear()
    return content


def ended_before(folder: Path, *, keep_stages: bool = False, **asked: Any) -> dict[str, Any] | None:
    """The content of `result.json` of a run that has ended in `folder`, which is told; None where it has not.

    `asked` are values that the result must have to be the one that is wanted. Stages that are left go, unless
    `keep_stages`.
    """
    result = finished(folder)
    if result is None or any(result.get(key) != value for key, value in asked.items()):
        return None
    if not keep_stages:
        Journal(folder).clear()
    note(f"{folder} has its result already: nothing is done again")
    return result
