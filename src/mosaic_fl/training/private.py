"""A training step under differential privacy, DP-SGD: each sample's gradient is shortened, and the sum gets noise.

Abadi et al., "Deep Learning with Differential Privacy" (CCS 2016). Gradients of single samples come from Opacus
(Yousefpour et al. 2021). What is secret comes from the system's secure source: the noise, and which samples a step has.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import torch
from torch import Tensor, nn

from mosaic_fl.numerics.accountant import Release
from mosaic_fl.numerics.gaussian_mechanism import Bytes, secure_normal
from mosaic_fl.training.single_samples import Followed

GRID = 2**16  # parts of the clip in which a gradient's numbers are whole
MARGIN = 1e-4  # by which a gradient is shortened more, for what float32 rounds in its length
MOST_AT_ONCE = 256  # samples: sums of their whole numbers are exact in float32
LARGEST = 2**25  # numbers of gradients of single samples that exist at once
BITS = 53  # of a random number


@dataclass(frozen=True)
class Descent:
    """How a network learns privately: the `release` of all its steps, and the length `clip` of a sample's gradient.

    `samples` is how many samples there are about, by noisy counts: gradients are divided by the `rate` of them. With it
    a learning rate means what it means without privacy. `source` is another one than the system's in tests alone.
    """

    release: Release
    clip: float
    samples: float
    source: Bytes = secrets.token_bytes


def drawn(count: int, rate: float, source: Bytes = secrets.token_bytes) -> Tensor:
    """A Poisson sample of `count` samples: each index in 0..count − 1 with the probability `rate`; int64, ascending."""
    words = torch.frombuffer(bytearray(source(8 * count)), dtype=torch.int64) if count else torch.zeros(0).long()
    return torch.nonzero((words & 2**BITS - 1).double() < rate * 2.0**BITS).flatten()


class PrivateStep:
    """A step of `optimiser` along the noisy sum of gradients of single samples of `network`, in training mode.

    Within the block `network` is followed by Opacus. `add` takes the loss of some samples of a step, summed over these,
    and `update` moves the weights. A step without any sample moves them by noise alone. The gradients' numbers are
    rounded to whole ones, towards 0, and so is the noise: so no last bit of a floating-point number tells of a sample
    (Mironov 2012), and a gradient that is not finite counts as 0 there.
    """

    def __init__(self, network: nn.Module, optimiser: torch.optim.Optimizer, descent: Descent) -> None:
        """`optimiser` has the parameters of `network` that learn."""
        self.network = network
        self.optimiser = optimiser
        self.descent = descent
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.sums = [torch.zeros(p.shape, dtype=torch.float64, device=p.device) for p in self.parameters]
        self._followed: Followed | None = None

    def __enter__(self) -> Self:
        self._followed = Followed(self.network)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        assert self._followed is not None
        self._followed.close()

    @property
    def few(self) -> int:
        """The most samples whose loss `add` may take at once."""
        return max(1, min(MOST_AT_ONCE, LARGEST // sum(p.numel() for p in self.parameters)))

    def add(self, loss: Tensor) -> None:
        """Add the shortened gradients of the samples, `few` at most, whose losses sum to `loss`."""
        assert self._followed is not None
        gradients = self._followed.gradients(loss)
        with torch.no_grad():
            squares = torch.stack([gradient.flatten(1).square().sum(1) for gradient in gradients]).sum(0)
            lengths = squares.nan_to_num(posinf=torch.inf).sqrt()
            scale = (1 - MARGIN) * GRID / lengths.clamp(min=self.descent.clip)
            for total, gradient in zip(self.sums, gradients, strict=True):
                total += gradient.mul_(scale.view(-1, *[1] * (gradient.ndim - 1))).trunc_().sum(0)

    @torch.no_grad()
    def update(self) -> None:
        """Move the weights along the noisy sum, and begin the next step."""
        release = self.descent.release
        sizes = [total.numel() for total in self.sums]
        noise = (secure_normal(sum(sizes), self.descent.source) * (release.noise * GRID)).round()
        unit = self.descent.clip / (GRID * max(1.0, release.rate * self.descent.samples))
        for parameter, total, part in zip(self.parameters, self.sums, noise.split(sizes), strict=True):
            total += part.view(total.shape).to(total.device)
            parameter.grad = (total * unit).to(parameter.dtype)
            total.zero_()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    def __call__(self, loss: Tensor) -> None:
        """As `update`, where the losses of the step were added before: what the training loop calls."""
        self.update()


def summed(loss: Callable[[Tensor], Tensor], step: PrivateStep, index: Tensor) -> Tensor:
    """Add the gradients of the samples `index` of a step, some at once, where `loss` sums those of some.

    Returns a zero: a private step tells no loss, which would be of private samples without noise.
    """
    for part in index.split(step.few):
        if len(part):
            step.add(loss(part))
    return torch.zeros(())
