"""What a tracker of experiments does, and what makes one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

PROJECT = "mosaic-fl"
"""The experiment, or project, that runs are put under where the user's environment names none."""


class Tracker(Protocol):
    """One run in a tracker. Any method may raise any error of its package."""

    def figures(self, values: Mapping[str, float], step: int) -> None:
        """Add a point at `step` (≥ 0, rising for each name) to the curve of each name in `values`."""

    def file(self, path: Path) -> None:
        """Keep a copy of this file, or nothing where the tracker has no files."""

    def end(self, *, succeeded: bool) -> None:
        """The run is over: write what is still held back."""


@dataclass(frozen=True)
class TrackerKind:
    """A tracker: its title, the packages that it needs, and what starts a run in it.

    `start(name, folder, parameters)` takes the run's name, its folder, and all settings as texts. It may raise any
    error, as where no server answers.
    """

    title: str
    packages: tuple[str, ...]
    start: Callable[[str, Path, Mapping[str, str]], Tracker]
