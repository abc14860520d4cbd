"""The work of a withdrawal: remove, distil again, write the record. A kill between two steps loses none of them.

The folder's marker says which step is next. Until the end it names another command, so that nothing else goes on there.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mosaic_fl.config.toml import to_toml
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.model_file import FILE as MODEL
from mosaic_fl.release import release
from mosaic_fl.runs.file_exchange import run_distillation
from mosaic_fl.runs.folder import marker_of, write_marker
from mosaic_fl.runs.removal import RECORD, SETTINGS, client_stages, remove, write_curves
from mosaic_fl.runs.sources import file_digest, place_text
from mosaic_fl.runs.withdrawal import COMMAND, SIMULATION, Withdrawal
from mosaic_fl.storage.files import read_if_there, write_atomic
from mosaic_fl.storage.metrics_file import FILE as METRICS
from mosaic_fl.storage.stopwatch import Stopwatch
from mosaic_fl.training.monitor import Listener, deaf

REMOVE = "remove"
DISTIL = "distil"


def withdraw(
    withdrawal: Withdrawal,
    command: str,
    listen: Listener = deaf,
    *,
    keep_stages: bool = False,
    stopwatch: Stopwatch | None = None,
) -> dict[str, Any]:
    """Do or end the withdrawal in its folder, which this process has occupied; returns the content of `result.json`.

    `command` is what the user typed, for the record. What a step has done is not done again.
    """
    folder = withdrawal.folder
    begun = dict(withdrawal.begun) if withdrawal.begun is not None else _begin(withdrawal, command)
    others = list(withdrawal.distillation.files)
    if begun["next"] == REMOVE:
        write_curves(folder, client_stages(folder, others))
        remove(folder, withdrawal.removed)
        write_atomic(folder / SETTINGS, to_toml(withdrawal.distillation.config))
        begun |= {"next": DISTIL, "when": _now()}
        _mark(withdrawal, begun)
    stages = {name: stage for name, stage in client_stages(folder, others).items() if stage.metrics}
    result = run_distillation(
        withdrawal.distillation, folder, listen, keep_stages=keep_stages, stopwatch=stopwatch, earlier_stages=stages
    )
    _record(withdrawal, begun)
    marker = marker_of("distill", withdrawal.distillation.inputs)
    write_marker(folder, {**marker, SIMULATION: withdrawal.before[SIMULATION]})
    return result


def _begin(withdrawal: Withdrawal, command: str) -> dict[str, Any]:
    """What the marker says of the withdrawal, written before anything is removed."""
    folder = withdrawal.folder
    files = withdrawal.distillation.files
    rewritten = [name for name in (METRICS, SETTINGS) if (folder / name).is_file()]
    begun = {
        "client": withdrawal.client,
        "command": command,
        "before": dict(withdrawal.before),
        "removed": dict(withdrawal.removed),
        "rewritten": {name: file_digest(folder / name) for name in rewritten},
        "outside": None,
        "others": {
            str(k): {"file": place_text(folder, path), "sha256": file_digest(path)} for k, path in files.items()
        },
        "next": REMOVE,
    }
    if withdrawal.outside is not None:
        begun["outside"] = {"file": str(withdrawal.outside.path), "sha256": withdrawal.outside.digest}
    _mark(withdrawal, begun)
    return begun


def _mark(withdrawal: Withdrawal, begun: Mapping[str, Any]) -> None:
    marker = marker_of(COMMAND, withdrawal.distillation.inputs)
    write_marker(withdrawal.folder, {**marker, "withdrawal": dict(begun)})


def _record(withdrawal: Withdrawal, begun: Mapping[str, Any]) -> None:
    """Add the withdrawal to the folder's record, once."""
    path = withdrawal.folder / RECORD
    entries = read_record(withdrawal.folder)
    if any((entry.get("client"), entry.get("when")) == (withdrawal.client, begun["when"]) for entry in entries):
        return
    entry = {name: begun[name] for name in ("client", "when", "command", "removed", "rewritten", "outside")}
    entry |= {
        "mosaic_fl": release(),
        "finished": _now(),
        "contributors": sorted(withdrawal.distillation.files),
        "global_model": {"file": MODEL, "sha256": file_digest(withdrawal.folder / MODEL)},
    }
    write_atomic(path, json.dumps({"withdrawals": [*entries, entry]}, indent=2) + "\n")


def read_record(folder: Path) -> list[dict[str, Any]]:
    """The withdrawals from the run in `folder`, the first one first; raises UsageError where the record is damaged."""
    content = read_if_there(folder / RECORD)
    if content is None:
        return []
    try:
        entries = json.loads(content)["withdrawals"]
        return [dict(entry) for entry in entries]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{folder / RECORD} is damaged: move it elsewhere, then give the same command") from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
