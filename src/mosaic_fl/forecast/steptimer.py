"""A monitor that times the steps of real work and ends it as soon as enough are timed."""

import time
from dataclasses import dataclass, field
from statistics import fmean

import torch

LEAST = 3
SLOW = 4
ENDLESS = 3.0  # seconds of a first step after which there is no second


class EnoughError(Exception):
    """Raised by a step timer out of the work that it times."""


@dataclass
class StepTimer:
    """Times steps until `most` of them, or `seconds`, are over; then raises `EnoughError` from `progress`.

    There are more than `LEAST` where they are quick, or nearly so: one alone may have had to wait for others.
    The first step, which warms up and has the set-up in it, counts only where it is the only one.
    """

    seconds: float
    most: int = 12
    start: float = field(default_factory=time.perf_counter)
    marks: list[float] = field(default_factory=list)

    def progress(self, done: int, total: int) -> None:
        """A step is done."""
        if torch.cuda.is_initialized():  # what was asked of it is not done yet
            torch.cuda.synchronize()
        self.marks.append(time.perf_counter())
        spent = self.marks[-1] - self.start
        done = len(self.marks)
        enough = done > LEAST and spent > self.seconds
        slow = spent > SLOW * self.seconds and (done > 1 or spent > ENDLESS)
        if done > self.most or enough or slow:
            raise EnoughError

    def log(self, step: int, **figures: float) -> None:
        """Figures are of no use here."""

    @property
    def step_seconds(self) -> float:
        """The mean of the steps after the first, or the first; 0 where none was done."""
        steps = [after - before for before, after in zip(self.marks, self.marks[1:], strict=False)]
        if steps:
            return fmean(steps)
        return self.marks[0] - self.start if self.marks else 0.0
