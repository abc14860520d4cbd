"""The points of a run's curves, from its `metrics.jsonl`, as they come."""

import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mosaic_fl.errors import UsageError
from mosaic_fl.storage.files import open_file
from mosaic_fl.storage.metrics_file import FILE, MAX_METRICS

ROUND = re.compile(r"^round-\d+$")
NO_FIGURES = {"stage", "client", "part", "step"}


class Curves:
    """The points of `folder`'s stages, each told once, whether the file has grown since the last look or is new."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._file = -1  # the inode of the file that was read, and up to which byte
        self._end = 0
        self._read = Counter[str]()  # lines of each stage that were read in this file
        self._told = Counter[str]()  # and in any
        self._last = dict[str, int]()
        self._base = dict[str, int]()

    def new(self) -> Iterator[tuple[dict[str, float], int]]:
        """(figures by name, step ≥ 0) of the stages that have come since the last call; finite figures alone.

        A name is as `student/loss`, `train/client 0/loss`, `round/loss`. Steps of a name rise: a curve that starts
        again, as a client's in each round, goes on behind its last point.
        """
        for line in self._lines():
            content = json.loads(line)
            stage = content["stage"]
            self._read[stage] += 1
            if self._read[stage] <= self._told[stage]:
                continue
            self._told[stage] += 1
            curve = _curve(content)
            values = {
                f"{curve}/{name}": float(value)
                for name, value in content.items()
                if name not in NO_FIGURES and isinstance(value, int | float) and math.isfinite(value)
            }
            if values:
                yield values, self._step(curve, content["step"])

    def _lines(self) -> list[bytes]:
        """The whole lines that were not read yet: of a file that was replaced, all."""
        try:
            file = open_file(self.path)
        except UsageError as error:
            if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
                return []
            raise
        with file:
            status = os.fstat(file.fileno())
            if status.st_ino != self._file or status.st_size < self._end:
                self._file = status.st_ino
                self._end = 0
                self._read.clear()
            file.seek(self._end)
            content = file.read(MAX_METRICS)
        content = content[: content.rfind(b"\n") + 1]
        self._end += len(content)
        return content.splitlines()

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
