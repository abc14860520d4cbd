"""`metrics.jsonl`: the curves of a run's stages, a line a figure. A stage that is finished adds its lines."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from mosaic_fl.storage import json_lines
from mosaic_fl.storage.files import write_atomic

FILE = "metrics.jsonl"
MAX_METRICS = 2**30  # bytes that are read


class HasMetrics(Protocol):
    """A stage, of which only what it has logged is of interest here."""

    @property
    def metrics(self) -> list[dict[str, float]]: ...


class MetricsFile:
    """The file in `folder`, which one process writes."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._latest: list[str] | None = None  # stages that are not in the file yet; None: nothing is known of it

    def add(self, name: str) -> None:
        """A stage is finished or recalled: the next `grow` writes it."""
        if self._latest is not None:
            self._latest.append(name)

    def outdate(self) -> None:
        """What was written is no longer so: the next `grow` writes all anew."""
        self._latest = None

    def grow(self, stages: Mapping[str, HasMetrics]) -> None:
        """Write what is new. The first time all `stages` replace what an earlier process has left."""
        if self._latest is None:
            self.replace(stages, lasting=False)
        else:
            new = {name: stages[name] for name in self._latest}
            if any(stage.metrics for stage in new.values()):
                json_lines.append(self.path, _lines(new), lasting=False)
        self._latest = []

    def replace(self, stages: Mapping[str, HasMetrics], *, lasting: bool = True) -> None:
        """Write all `stages` anew. Sorted, so that computed and recalled stages give the same bytes."""
        write_atomic(self.path, json_lines.json_lines(_lines(stages)), lasting=lasting)


def _lines(stages: Mapping[str, HasMetrics]) -> Iterator[dict[str, Any]]:
    for name, stage in sorted(stages.items()):
        for figures in stage.metrics:
            yield {"stage": name, **dict(sorted(figures.items()))}
