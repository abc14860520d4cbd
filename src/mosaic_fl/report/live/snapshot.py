"""One look at the folder of a run: what `mosaic status` shows, and its JSON."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mosaic_fl.report.summary import Summary, read_summary
from mosaic_fl.watch.reading import alive, read_status
from mosaic_fl.watch.status import Status


@dataclass(frozen=True)
class Snapshot:
    """The `state` of a run, and whether its process is `alive` (None: unknown).

    A run over a network has a `Status`, any other run a `Summary`.
    """

    state: Status | Summary
    alive: bool | None

    def to_json(self) -> dict[str, Any]:
        """What `mosaic status --json` prints."""
        content = self.state.to_json()
        return content if isinstance(self.state, Summary) else {**content, "alive": self.alive}


def read_snapshot(folder: Path) -> Snapshot:
    """The state of the run in `folder` now. Raises UsageError where there is no run, or a file of it is damaged."""
    state = read_status(folder) or read_summary(folder)
    return Snapshot(state, state.at_work if isinstance(state, Summary) else alive(state))
