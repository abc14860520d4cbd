"""The cells of a comparison in trackers: each is a run of its own, beside the run of the comparison."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mosaic_fl.comparison.cells import CellResult, recall
from mosaic_fl.comparison.grid import AXES, Cell
from mosaic_fl.comparison.plan import Plan
from mosaic_fl.config import Config
from mosaic_fl.tracking.entries import entries
from mosaic_fl.tracking.following import Following, final_figures, following
from mosaic_fl.tracking.settings import settings_of

FILES = ("table.md", "table.csv", "table.json", "report.html", "config.toml")
"""What a tracker that has files is given of a comparison's folder."""


class CellRuns:
    """Sends each cell of `plan` that is done to the trackers `names` of `following`, and none of them twice.

    At the start it sends those that an earlier process finished and a tracker does not have.
    """

    def __init__(self, following: Following, names: Sequence[str], plan: Plan) -> None:
        self.following = following
        self.names = names
        self.plan = plan
        self._has = entries(following.folder) if names else set[tuple[str, str]]()
        self._done = 0
        if names:
            for cell in plan.runnable:
                if (result := recall(following.folder, cell)) is not None:
                    self.after(cell, result)

    def after(self, cell: Cell, result: CellResult) -> None:
        """Send this cell where it is done: one that failed runs again when the comparison is resumed."""
        if result.status != "done" or not self.names:
            return
        self._done += 1
        self.following.figures({"progress/cells": self._done}, self._done)
        if to := [name for name in self.names if (name, cell.name) not in self._has]:
            settings = cell_settings(self.plan, cell) | {"compare.name": self.following.folder.resolve().name}
            self.following.entry(cell.name, settings, cell_figures(result), to)
            self._has |= {(name, cell.name) for name in to}

    def finish(self) -> None:
        """Send the comparison's tables and its report."""
        self.following.files(FILES)


@contextmanager
def following_cells(names: Sequence[str], folder: Path, plan: Plan, config: Config) -> Iterator[CellRuns]:
    """As `following`, of the comparison in `folder`, whose settings without those of its axes are `config`."""
    axes = {f"compare.{name}": value for name, value in plan.grid.options().items() if not name.startswith("set ")}
    settings = {name: value for name, value in settings_of(config).items() if name not in AXES}
    with following(names, folder, settings | axes) as tracked:
        yield CellRuns(tracked, names, plan)


def cell_settings(plan: Plan, cell: Cell) -> dict[str, Any]:
    """All settings of a cell by name, its method also where that is a reference, and its place in the grid."""
    place = {"compare.architectures": cell.setting.architectures, "compare.rounds": cell.rounds}
    return settings_of(plan.config(cell)) | {"run.method": cell.method} | place


def cell_figures(result: CellResult) -> dict[str, float]:
    """The numbers of a cell, by name: `final/accuracy`, `final/seconds`, `final/quality/auroc`."""
    quality: Mapping[str, float | None] = result.quality or {}
    figures = {f"quality/{name}": value for name, value in quality.items()}
    return final_figures(asdict(result) | figures)
