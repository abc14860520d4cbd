"""Whole runs that a tracker was sent at once, as cells of a comparison are, and which tracker has which of them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mosaic_fl.storage.files import read_if_there
from mosaic_fl.tracking.named import TRACKERS

RECORD = "tracked.jsonl"
MAX_RECORD = 2**28  # bytes


def send_entry(tracker: str, entry: Mapping[str, Any]) -> None:
    """Let `tracker` have the whole run of `entry`, a message of `Following.entry`, and add a line to its record.

    Raises what the tracker's package raises; then there is no line, and a resumed comparison sends it again.
    """
    folder = Path(entry["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    run = TRACKERS[tracker].start(entry["entry"], folder, entry["parameters"])
    try:
        run.figures(entry["figures"], 0)
    except BaseException:
        run.end(succeeded=False)
        raise
    run.end(succeeded=True)
    path = Path(entry["record"])
    cut_off = not (read_if_there(path, MAX_RECORD) or b"\n").endswith(b"\n")
    with path.open("a", encoding="utf-8") as record:
        record.write("\n" * cut_off + json.dumps({"tracker": tracker, "entry": entry["entry"]}) + "\n")


def entries(folder: Path) -> set[tuple[str, str]]:
    """(tracker, name) of the runs in the record of `folder`; a line that a kill cut off counts as none."""
    pairs = set[tuple[str, str]]()
    for line in (read_if_there(folder / RECORD, MAX_RECORD) or b"").splitlines():
        try:
            content = json.loads(line)
            pairs.add((content["tracker"], content["entry"]))
        except (ValueError, TypeError, KeyError):
            continue
    return pairs
