"""The training loop: the only one here. Each network's trainer gives it a loss, a kind of step, and hooks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class StepTaken:
    """A step that has just been taken: its number from 0, how many are planned, and its loss, on its device."""

    step: int
    steps: int
    loss: Tensor

    @property
    def is_last(self) -> bool:
        """Whether no further step is planned."""
        return self.step + 1 == self.steps


Loss = Callable[[int], Tensor]
"""The loss, a scalar, of the batch of a step (counted from 0)."""
Update = Callable[[Tensor], None]
"""Moves the weights by the gradient of a loss: see `steps`."""
Hook = Callable[[StepTaken], bool]
"""What happens after a step; whether training ends with it."""


def descend(loss: Loss, update: Update, steps: int, hooks: Sequence[Hook] = ()) -> int:
    """Take `steps` steps down `loss`, or fewer where a hook ends training; returns how many were taken.

    After each step all hooks are called, in their order.
    """
    for step in range(steps):
        value = loss(step)
        update(value)
        taken = StepTaken(step, steps, value)
        ends = [hook(taken) for hook in hooks]
        if any(ends):
            return step + 1
    return steps
