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
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if self.max_norm < math.inf:
            clip_grad_norm_([p for group in self.optimiser.param_groups for p in group["params"]], self.max_norm)
        self.optimiser.step()
