"""Stages of earlier distillations in the same folder, by what they were made from.

A distillation of one contribution more or fewer can use none of another's stages: each one draws on all clients
(docs/notes/regions.md). The same contributions with the same settings can use all of theirs.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mosaic_fl.notes import note
from mosaic_fl.storage.files import read_if_there, sha256

SHELF = "shelf"
STAGES = "stages"  # as in `storage.journal`, which takes torch
SETTINGS = "config.toml"
MOST = 4  # distillations on the shelf: a pool may take a gibibyte


def put_aside(folder: Path, marker: Mapping[str, Any]) -> None:
    """Move the stages of the distillation in `folder` to its shelf; the oldest ones there go beyond `MOST`."""
    stages = folder / STAGES
    place = _place(folder, marker)
    if marker.get("command") != "distill" or not stages.is_dir() or place is None:
        return
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(exist_ok=True)
    stages.replace(place)
    os.utime(place)
    by_age = sorted(place.parent.iterdir(), key=lambda path: path.stat().st_mtime)
    for old in by_age[:-MOST]:
        shutil.rmtree(old)


def take_back(folder: Path, marker: Mapping[str, Any]) -> None:
    """Move this distillation's stages from the shelf of `folder` to their place, where it was made there before."""
    place = _place(folder, marker)
    if place is not None and place.is_dir():
        place.replace(folder / STAGES)
        note(f"{folder} has the stages of these contributions and settings from before: they are used")


def _place(folder: Path, marker: Mapping[str, Any]) -> Path | None:
    """The shelf's folder of a distillation, by contributions, settings and version; None where settings are missing."""
    settings = read_if_there(folder / SETTINGS)
    if settings is None:
        return None
    parts = (str(marker.get("inputs")).encode(), str(marker.get("mosaic_fl")).encode(), settings)
    return folder / SHELF / sha256(*parts)[:32]
