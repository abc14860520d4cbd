"""The optimiser, the schedule of its learning rate, and the moving average of weights."""

import math
from collections.abc import Iterable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

WARM_UP = 0.05  # share of the steps over which the learning rate rises


class Rates(Protocol):
    """The settings of a stage that an optimiser needs."""

    @property
    def lr(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...


def adamw(parameters: Iterable[nn.Parameter], rates: Rates) -> torch.optim.AdamW:
    """AdamW on `parameters`, in its fused kernel, which is several times faster on small networks."""
    return torch.optim.AdamW(parameters, lr=rates.lr, weight_decay=rates.weight_decay, fused=True)


def cosine(optimiser: torch.optim.Optimizer, steps: int) -> LambdaLR:
    """Linear warm-up over `WARM_UP` of the steps, then a half cosine down to 0."""
    warm = max(1, round(WARM_UP * steps))

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))

    return LambdaLR(optimiser, factor)


class MovingAverage(AveragedModel):
    """An exponential moving average of a model and its batch-norm statistics, with the decay of `averaged`.

    The count of updates stays on the CPU: torch's own update would wait for the device in every step.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model, use_buffers=True)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Take the present weights of `model` into the average."""
        n = int(self.n_averaged)
        pairs = list(zip(_tensors(self.module), _tensors(model), strict=True))
        lerped = [pair for pair in pairs if n and pair[0].is_floating_point()]
        copied = [pair for pair in pairs if not (n and pair[0].is_floating_point())]  # of them the counters of batches
        if lerped:
            average, current = map(list, zip(*lerped, strict=True))
            torch._foreach_lerp_(average, current, 1 - min(self.decay, (1 + n) / (10 + n)))
        if copied:
            average, current = map(list, zip(*copied, strict=True))
            torch._foreach_copy_(average, current)
        self.n_averaged += 1


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of `model` and its batch-norm statistics; call its `update_parameters`.

    The n-th update has decay min(`decay`, (1 + n) / (10 + n)), and the 0th copies the weights. So the average of a
    short training is not dominated by its beginning.
    """
    return MovingAverage(model, decay)


def _tensors(model: nn.Module) -> list[Tensor]:
    return [tensor.detach() for tensor in (*model.parameters(), *model.buffers())]
