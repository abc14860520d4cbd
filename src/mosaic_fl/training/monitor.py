"""How long work tells what it is doing, without knowing who listens."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

Listener = Callable[[str, int, int, int], None]
"""Hears (stage, client or −1, steps done, steps in all)."""


def deaf(stage: str, client: int, done: int, total: int) -> None:
    """A listener that ignores everything."""


class Monitor(Protocol):
    """Listens to one piece of work."""

    def progress(self, done: int, total: int) -> None:
        """`done` of `total` steps are done; cheap enough to be called every step."""

    def log(self, step: int, **figures: float) -> None:
        """Keep these figures of step `step` (0-based) for `metrics.jsonl`."""


@dataclass
class Recorder:
    """A monitor that keeps figures and passes progress on to a listener."""

    stage: str = ""
    client: int = -1
    listen: Listener = deaf
    metrics: list[dict[str, float]] = field(default_factory=list)

    def progress(self, done: int, total: int) -> None:
        self.listen(self.stage, self.client, done, total)

    def log(self, step: int, **figures: float) -> None:
        self.metrics.append({"step": step, **figures})
