"""The end of a run: it writes the result and deletes the stages. A run that has its result is not done again."""

import json
from pathlib import Path
from typing import Any

from mosaic_fl.notes import note, printed_notes
from mosaic_fl.runs.result import FILE, NOTES, Result, final_result
from mosaic_fl.runs.versions import versions
from mosaic_fl.storage.files import write_atomic
from mosaic_fl.storage.journal import Journal


def conclude(result: Result, journal: Journal, *, keep_stages: bool = False) -> dict[str, Any]:
    """Write the curves and `result.json` into the journal's folder, and delete its stages unless `keep_stages`.

    `notes.json` has the notes that this process has printed so far, if any, for the report.

    Returns the content of `result.json`.
    """
    assert journal.folder is not None
    journal.write_metrics()
    content = result.to_json() | {"versions": dict(versions())}
    (journal.folder / NOTES).unlink(missing_ok=True)
    if notes := printed_notes():
        write_atomic(journal.folder / NOTES, json.dumps(notes, indent=1, ensure_ascii=False) + "\n")
    write_atomic(journal.folder / FILE, json.dumps(content, indent=2) + "\n")
    if not keep_stages:
        journal.clear()
    return content


def earlier_result(folder: Path, *, keep_stages: bool = False, **values: Any) -> dict[str, Any] | None:
    """The content of `result.json` of a run that has ended in `folder`; None where no run has. A note says so.

    The result must have the `values`, else it is that of other work and None is returned. Stages that are still there
    are deleted, unless `keep_stages`.
    """
    result = final_result(folder)
    if result is None or any(result.get(key) != value for key, value in values.items()):
        return None
    if not keep_stages:
        Journal(folder).clear()
    note(f"{folder} has its result already: nothing is done again")
    return result
