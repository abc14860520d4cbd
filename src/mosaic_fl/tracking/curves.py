"""The points of a run's curves, from its `metrics.jsonl`, as they come."""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path

from mosaic_fl.storage.files import read_if_there

FILE = "metrics.jsonl"
ROUND = re.compile(r"^round-\d+$")
NO_FIGURES = {"stage", "client", "part", "step"}
MAX_METRICS = 2**28  # bytes


class Curves:
    """The points of `folder`'s stages, each told once. A stage's lines are written together, when it is finished."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stages = set[str]()
        self._last = dict[str, int]()
        self._base = dict[str, int]()

    def new(self) -> Iterator[tuple[dict[str, float], int]]:
        """(figures by name, step ≥ 0) of the stages that have come since the last call; finite figures alone.

        A name is as `student/loss`, `train/client 0/loss`, `round/loss`. Steps of a name rise: a curve that starts
        again, as a client's in each round, goes on behind its last point.
        """
        lines = (read_if_there(self.folder / FILE, MAX_METRICS) or b"").splitlines()
        fresh = set[str]()
        for line in lines:
            content = json.loads(line)
            stage = content["stage"]
            if stage in self._stages:
                continue
            fresh.add(stage)
            curve = _curve(content)
            values = {
                f"{curve}/{name}": float(value)
                for name, value in content.items()
                if name not in NO_FIGURES and isinstance(value, int | float) and math.isfinite(value)
            }
            if values:
                yield values, self._step(curve, content["step"])
        self._stages |= fresh

    def _step(self, curve: str, step: int) -> int:
        """The step of a point that the stage calls `step` (−1: a figure of all steps)."""
        last = self._last.get(curve, -1)
        place = self._base.setdefault(curve, 0) + max(step, 0)
        if place <= last:
            self._base[curve] = last + 1
            place = last + 1 + max(step, 0)
        self._last[curve] = place
        return place


def _curve(content: dict[str, object]) -> str:
    """The curve to which a line belongs: of a client its work, else the stage; all rounds are one."""
    stage = str(content.get("part", content["stage"]))
    stage = "round" if ROUND.match(stage) else stage
    return f"{stage}/client {content['client']}" if "client" in content else stage
