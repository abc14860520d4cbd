"""A monitor that times the steps of real work, and ends the work as soon as it has timed enough steps."""

import time
from dataclasses import dataclass, field
from statistics import fmean

import torch

LEAST = 3  # steps that are timed at least, if they are quick
SLOW = 4  # times the planned seconds after which even few steps are enough
ENDLESS = 3.0  # seconds of a first step after which there is no second


class EnoughError(Exception):
    """A step timer raises it to end the work that it times."""


@dataclass
class StepTimer:
    """Times steps until `most` of them or `seconds` are over; then raises `EnoughError` from `progress`.

    Unless steps are very slow it times more than `LEAST` of them, because a single one may have waited for other
    processes. The first step includes set-up and warm-up, so it counts only where it is the only one.
    """

    seconds: float
    most: int = 12
    start: float = field(default_factory=time.perf_counter)
    marks: list[float] = field(default_factory=list)

    def progress(self, done: int, total: int) -> None:
        """Time a step that has just ended."""
        if torch.cuda.is_initialized():  # the accelerator may still work on the step
            torch.cuda.synchronize()
        self.marks.append(time.perf_counter())
        elapsed = self.marks[-1] - self.start
        steps = len(self.marks)
        enough = steps > LEAST and elapsed > self.seconds
        slow = elapsed > SLOW * self.seconds and (steps > 1 or elapsed > ENDLESS)
        if steps > self.most or enough or slow:
            raise EnoughError

    def log(self, step: int, **figures: float) -> None:
        """Ignore the figures."""

    @property
    def step_seconds(self) -> float:
        """The mean seconds of the steps after the first, or else of the first; 0 without any step."""
        steps = [after - before for before, after in zip(self.marks, self.marks[1:], strict=False)]
        if steps:
            return fmean(steps)
        return self.marks[0] - self.start if self.marks else 0.0
