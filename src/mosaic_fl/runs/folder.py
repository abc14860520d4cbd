"""The folder of a run: the checks before a run may use it, resume in it, or delete its files."""

import json
import shutil
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mosaic_fl.config import Config
from mosaic_fl.config.toml import from_toml, to_toml
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.release import release
from mosaic_fl.runs.recount import SETTINGS, can_recount, recount
from mosaic_fl.runs.shelf import SHELF, put_aside, take_back
from mosaic_fl.storage.files import (
    read_bytes,
    remove_partial,
    require_path,
    require_place,
    require_writable,
    write_atomic,
)
from mosaic_fl.storage.folder_lock import occupy

MARKER = "inputs.json"  # written first and deleted last: a folder with it is a run's
QUERIES = "queries"  # what black boxes are asked, as files
OURS = (
    "stages",
    "contributions",
    "received",
    QUERIES,
    "answers",
    "cells",
    "shared",
    "pictures",
    "quarantine",
    "result.json",
    "report.html",
    "notes.json",
    "table.md",
    "table.csv",
    "table.json",
    "metrics.jsonl",
    "tracking.log",
    "tracked.jsonl",
    "tracked",
    "tensorboard",
    "wandb",
    "events.jsonl",
    "status.json",
    "global_model.safetensors",
    "config.toml",
    "deployment.json",
    "failure.json",
    "run-id",
    "flower",
    "shelf",
    "sources.json",
    "withdrawals.json",
    MARKER,
)
BEGAN = (
    "it says with which settings the run began: put it back as it was, choose another --out, or start over with --force"
)
FREE = ("workers", "engine")  # settings that change how fast a run is, and not its result


def claim(
    folder: Path,
    command: str,
    inputs: str,
    config: Config,
    sources: Sequence[Path] = (),
    options: Mapping[str, str] = MappingProxyType({}),
    *,
    resume: bool,
    force: bool,
    dry_run: bool = False,
    shelve: bool = False,
) -> None:
    """Make `folder` the place of this run of `command`, whose data has the hash `inputs`, and write its `config.toml`.

    `options` are the command's options that change the run and are no settings. With `resume`, a run in the folder of
    the same command, inputs, options and settings goes on. With `force`, the files of the run in the folder are
    deleted, and no other files. A `dry_run` makes the checks and changes nothing. A run without its result may go on
    with other words on whom the server believes (`recount`). `sources` are the files that this run reads. With `shelve`
    and `force` the stages of a distillation stay on the folder's shelf. Raises UsageError where the folder has content
    and neither `resume` nor `force` is set, where it is no run's or another run's, holds one of `sources`, has a
    damaged marker, cannot be written, or is in use by another process; MosaicError where it cannot be emptied.
    """
    entries, marker = require_open(folder, resume=resume, force=force)
    (require_place if dry_run else require_writable)(folder / MARKER)
    occupy(folder)
    ours = marker_of(command, inputs, options)
    try:
        if entries and force:
            _require_outside(folder, sources)
        elif entries:
            _require_same(folder, entries, marker, ours, config)
        if dry_run:
            return
        if entries and force:
            if shelve:
                put_aside(folder, marker)
            _delete(folder, {SHELF} if shelve else set())
        elif "config.toml" in entries:
            recount(folder, _settings(folder / "config.toml"), config)
        remove_partial(folder)
    except OSError as error:
        raise MosaicError(f"cannot empty {folder}: {error.strerror}") from error
    write_marker(folder, ours)
    write_atomic(folder / "config.toml", to_toml(config))
    if shelve and force:
        take_back(folder, ours)


def marker_of(command: str, inputs: str, options: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    """The marker of a run of `command` by this version, of data with the hash `inputs`; `options` as in `claim`."""
    return {"mosaic_fl": release(), "command": command, "inputs": inputs, "options": dict(options)}


def write_marker(folder: Path, marker: Mapping[str, Any]) -> None:
    """Replace the marker of `folder`."""
    write_atomic(folder / MARKER, json.dumps(marker) + "\n")


def require_open(folder: Path, *, resume: bool, force: bool) -> tuple[Set[str], dict[str, Any]]:
    """(names in `folder`, its marker), both empty for an empty or missing folder; nothing is written.

    Raises UsageError in the cases of `claim` that do not depend on the run.
    """
    if resume and force:
        raise UsageError("--resume goes on with a run and --force deletes it: say one of them")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: --out names a folder")
    entries = (
        {path.name for path in folder.iterdir() if not path.name.endswith(".partial")} if folder.exists() else set()
    )
    marker = read_marker(folder)
    if MARKER in entries and marker is None:
        raise UsageError(
            f"{folder / MARKER} is damaged or no run's, so nobody knows whose the folder is: choose another --out, or "
            "delete the folder yourself"
        )
    if entries and marker is None:
        raise UsageError(f"{folder} is not empty, and not the folder of a run: choose another --out")
    if entries and not (resume or force):
        raise UsageError(
            f"{folder} exists: add --resume to go on with it, --force to start over, or choose another --out"
        )
    return entries, marker or {}


def options_of(folder: Path) -> Mapping[str, Any] | None:
    """The options with which the run in `folder` began; None where it holds none."""
    marker = read_marker(folder)
    return None if marker is None else marker.get("options", {})


def read_marker(folder: Path) -> dict[str, Any] | None:
    """The content of the folder's marker, or None where it has none."""
    try:
        content = json.loads(read_bytes(folder / MARKER))
    except (UsageError, ValueError, RecursionError):
        return None
    complete = isinstance(content, dict) and "mosaic_fl" in content and isinstance(content.get("options", {}), dict)
    return content if complete else None


def require_run(folder: Path) -> dict[str, Any]:
    """The content of the marker of a run's folder; raises UsageError where it is none."""
    require_path(folder)
    marker = read_marker(folder)
    if marker is None:
        raise UsageError(f"{folder} is not the folder of a run: name what --out was")
    return marker


def _require_outside(folder: Path, sources: Sequence[Path]) -> None:
    for source in sources:
        if source.exists() and folder.resolve() in source.resolve().parents:
            raise UsageError(f"{folder} holds {source}, which this run reads: choose another --out")


def _delete(folder: Path, spared: Set[str]) -> None:
    for name in (name for name in OURS if name not in spared):
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _option_text(name: str, options: Mapping[str, Any]) -> str:
    return f"with --{name} {options[name]}" if options.get(name) is not None else f"without --{name}"


def _require_same(folder: Path, entries: Set[str], before: dict[str, Any], now: dict[str, Any], config: Config) -> None:
    for key, difference in (("command", "another command"), ("mosaic_fl", "another version")):
        if before.get(key) != now[key]:
            raise UsageError(f"{folder} holds a run of {difference}: choose another --out, or start over with --force")
    old_options = before.get("options", {})
    options = now["options"]
    for name in {**options, **old_options}:
        if old_options.get(name) != options.get(name):
            raise UsageError(
                f"{folder} holds a run {_option_text(name, old_options)}, not {_option_text(name, options)}: resume it "
                "with the same options, or choose another --out"
            )
    if "config.toml" in entries:
        _require_same_settings(folder, entries, before["command"], config)
    elif entries & set(OURS) > {MARKER}:
        raise UsageError(f"{folder / 'config.toml'} is missing; {BEGAN}")  # else it was killed before it began
    if before.get("inputs") != now["inputs"]:  # after the settings, which say better what differs
        raise UsageError(f"{folder} holds a run of other data: choose another --out, or start over with --force")


def _require_same_settings(folder: Path, entries: Set[str], command: str, config: Config) -> None:
    begun = _settings(folder / "config.toml")
    free = SETTINGS if can_recount(command, begun, entries) else ""
    old = begun.model_dump()
    new = config.model_dump()
    for section, values in new.items():
        for key, value in values.items():
            if section != free and key not in FREE and old[section][key] != value:
                raise UsageError(
                    f"{folder} holds a run with {section}.{key} = {old[section][key]!r}, not {value!r}: "
                    "resume it with the same settings, or choose another --out"
                )


def _settings(path: Path) -> Config:
    try:
        return from_toml(path)
    except UsageError as error:
        raise UsageError(f"{error}; {BEGAN}") from error
