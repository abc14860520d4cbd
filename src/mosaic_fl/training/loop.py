"""The training loop. All networks train in it: each trainer passes its loss, its kind of step, and hooks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from mosaic_fl.numerics.memory import reuse_memory


@dataclass(frozen=True)
class StepTaken:
    """A step just after it: its number from 0, the number of all planned steps, and its loss, on its device."""

    step: int
    steps: int
    loss: Tensor

    @property
    def is_last(self) -> bool:
        """Whether this is the last planned step."""
        return self.step + 1 == self.steps


Loss = Callable[[int], Tensor]
"""The number of a step, from 0 -> the scalar loss of its batch."""
Update = Callable[[Tensor], None]
"""Moves the weights by the gradient of a loss; see `steps`."""
Hook = Callable[[StepTaken], bool]
"""Runs after a step; returns whether training ends."""


def descend(loss: Loss, update: Update, steps: int, hooks: Sequence[Hook] = ()) -> int:
    """Take `steps` steps down `loss`, or fewer where a hook ends training; returns their number.

    After each step all hooks run, in their order.
    """
    reuse_memory()
    for step in range(steps):
        value = loss(step)
        update(value)
        outcome = StepTaken(step, steps, value)
        ends = [hook(outcome) for hook in hooks]
        if any(ends):
            return step + 1
    return steps
