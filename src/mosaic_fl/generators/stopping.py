"""When a generator's training ends before its last step: where its loss on samples of others gets no better.

A VAE of few large pictures learns them by heart after some hundred steps, and then its loss on others rises. On small
pictures it does not (docs/notes/profile.md).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.training.hooks import BestWeights, every, require_finite
from mosaic_fl.training.loop import Hook, StepTaken
from mosaic_fl.training.monitor import Monitor

CHECK_EVERY = 50  # steps
LEAST_CHECKED = 20  # samples of the validation split: the loss of fewer tells nothing, so no training stops by it
MOST_CHECKED = 128  # samples: a check costs less than a step


class EarlyStop:
    """An early stop of `model` by its loss on `validation`, after `patience` checks without a better one; 0: never.

    A training that stops has the weights of its best check, one that does not has its last. `samples` are those of the
    checks; None where there are too few.
    """

    def __init__(self, model: nn.Module, validation: Dataset | None, patience: int) -> None:
        self.model = model
        self.samples = _some(validation) if validation is not None and patience else None
        self.stopped = False
        self._best = BestWeights(model, patience)

    def hook(self, loss: Callable[[], Tensor], monitor: Monitor) -> Hook:
        """A hook of the training loop: once in `CHECK_EVERY` steps it looks at `loss` and logs it."""

        @torch.no_grad()
        def look(outcome: StepTaken) -> bool:
            value = float(loss())
            require_finite("the generator's loss on validation samples", value, outcome.step, "lower generator.lr")
            monitor.log(outcome.step, generator_validation_loss=value)
            self.stopped = self._best.offer(value)
            return self.stopped

        return every(CHECK_EVERY, look, last=False)

    def end(self) -> None:
        """Give a model whose training stopped its best weights."""
        if self.stopped:
            self._best.load_into(self.model)


def _some(validation: Dataset) -> Dataset | None:
    """At most `MOST_CHECKED` of the samples, spread over all of them, since files may be in the order of classes."""
    count = len(validation)
    if count < LEAST_CHECKED:
        return None
    return validation.subset(range(0, count, -(-count // MOST_CHECKED)))
