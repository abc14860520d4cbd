"""Kinds of training steps, which move the weights by the gradient of a loss."""

import math
from dataclasses import dataclass

from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer


@dataclass(frozen=True)
class PlainStep:
    """One step of `optimiser` down a loss, with its gradient clipped to the norm `max_norm`."""

    optimiser: Optimizer
    max_norm: float = math.inf

    def __call__(self, loss: Tensor) -> None:
        parameters = [parameter for group in self.optimiser.param_groups for parameter in group["params"]]
        for parameter in parameters:  # the optimiser's own way also opens a profiler, which a step of few units feels
            parameter.grad = None
        loss.backward()
        if self.max_norm < math.inf:
            clip_grad_norm_(parameters, self.max_norm)
        self.optimiser.step()
