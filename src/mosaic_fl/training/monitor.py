"""Reports from long work, of its progress and its figures, to any listener: a bar, the journal, the watch."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

Listener = Callable[[str, int, int, int], None]
"""Called with (stage, client or −1, steps done, all steps)."""


def deaf(stage: str, client: int, done: int, total: int) -> None:
    """A listener that ignores all reports."""


class Monitor(Protocol):
    """Listens to one piece of work."""

    def progress(self, done: int, total: int) -> None:
        """Report that `done` of `total` steps are done; cheap enough for every step."""

    def log(self, step: int, **figures: float) -> None:
        """Record these figures of step `step` (from 0) for `metrics.jsonl`."""


@dataclass
class Recorder:
    """A monitor that collects figures in `metrics` and passes progress on to a listener."""

    stage: str = ""
    client: int = -1
    listen: Listener = deaf
    metrics: list[dict[str, float]] = field(default_factory=list)

    def progress(self, done: int, total: int) -> None:
        self.listen(self.stage, self.client, done, total)

    def log(self, step: int, **figures: float) -> None:
        self.metrics.append({"step": step, **figures})
