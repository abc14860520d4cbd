"""How long work tells what it is doing, without knowing who listens."""

from typing import Protocol


class Monitor(Protocol):
    """Listens to one piece of work."""

    def progress(self, done: int, total: int) -> None:
        """`done` of `total` steps are done; cheap enough to be called every step."""

    def log(self, step: int, **figures: float) -> None:
        """Keep these figures of step `step` (0-based) for `metrics.jsonl`."""


class Silent:
    """A monitor that ignores everything."""

    def progress(self, done: int, total: int) -> None:
        pass

    def log(self, step: int, **figures: float) -> None:
        pass


