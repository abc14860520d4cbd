"""A training step under differential privacy, DP-SGD: each sample's gradient is shortened, and the sum gets noise.

Abadi et al., "Deep Learning with Differential Privacy" (CCS 2016). Gradients of single samples come from Opacus
(Yousefpour et al. 2021). What is secret comes from the system's secure source: the noise, and which samples a step has.
"""

import secrets
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from mosaic_fl.errors import UsageError
from mosaic_fl.extras import require
from mosaic_fl.numerics.accountant import WORK, Release
from mosaic_fl.numerics.gaussian_mechanism import Bytes, secure_normal

GRID = 2**16  # parts of the clip in which a gradient's numbers are whole
MARGIN = 1e-4  # by which a gradient is shortened more, for what float32 rounds in its length
MOST_AT_ONCE = 256  # samples: sums of their whole numbers are exact in float32
LARGEST = 2**25  # numbers of gradients of single samples that exist at once
BITS = 53  # of a random number
TRACES = ("grad_sample", "_forward_counter", "_current_grad_sample", "activations", "max_batch_len")  # of Opacus


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


def at_once(parameters: int) -> int:
    """Samples whose gradients of so many `parameters` fit into memory at once, 1 at least."""
    return max(1, min(MOST_AT_ONCE, LARGEST // max(1, parameters)))


class PrivateStep:
    """A step of `optimiser` along the noisy sum of gradients of single samples of `network`, in training mode.

    Within the block `network` is followed by Opacus. `add` takes the loss of some samples of a step, summed over these,
    and `update` moves the weights. A step without any sample moves them by noise alone. The gradients' numbers are
    rounded to whole ones, towards 0, and so is the noise: so no last bit of a floating-point number tells of a sample
    (Mironov 2012), and a gradient that is not finite counts as 0 there.
    """

    def __init__(self, network: nn.Module, optimiser: torch.optim.Optimizer, descent: Descent) -> None:
        """`optimiser` has the parameters of `network` that learn."""
        require(WORK, "opacus")
        self.network = network
        self.optimiser = optimiser
        self.descent = descent
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.sums = [torch.zeros(p.shape, dtype=torch.float64, device=p.device) for p in self.parameters]
        self._followed: Any = None

    def __enter__(self) -> Self:
        self._followed = follow(self.network)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._followed.remove_hooks()
        for module in (*self.parameters, *self.network.modules()):
            for name in TRACES:
                vars(module).pop(name, None)

    @property
    def few(self) -> int:
        """The most samples whose loss `add` may take at once."""
        return at_once(sum(p.numel() for p in self.parameters))

    def gradients(self, loss: Tensor) -> list[Tensor]:
        """The gradients (n, *shape) of the n samples whose losses sum to `loss`, a scalar with a graph.

        A number that is not finite is 0.
        """
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Full backward hook")  # inputs need no gradient
            loss.backward()  # type: ignore[no-untyped-call]
        gradients = [_of_samples(p) for p in self.parameters]
        for parameter in self.parameters:
            vars(parameter)["grad_sample"] = None
            parameter.grad = None
        return gradients

    @torch.no_grad()
    def add(self, loss: Tensor) -> None:
        """Add the shortened `gradients` of some samples of this step."""
        with torch.enable_grad():
            gradients = self.gradients(loss)
        squares = torch.stack([gradient.flatten(1).square().sum(1) for gradient in gradients]).sum(0)
        whole = (1 - MARGIN) * GRID / squares.sqrt().clamp(min=self.descent.clip)
        for total, gradient in zip(self.sums, gradients, strict=True):
            scale = whole.view(-1, *[1] * (gradient.ndim - 1))
            total += gradient.mul_(scale).trunc_().sum(0)

    @torch.no_grad()
    def update(self) -> None:
        """Move the weights along the noisy sum, and begin the next step."""
        release = self.descent.release
        size = sum(total.numel() for total in self.sums)
        noise = (secure_normal(size, self.descent.source) * (release.noise * GRID)).round()
        unit = self.descent.clip / (GRID * max(1.0, release.rate * self.descent.samples))
        parts = noise.split([total.numel() for total in self.sums])
        for parameter, total, part in zip(self.parameters, self.sums, parts, strict=True):
            total += part.view(total.shape).to(total.device)
            parameter.grad = (total * unit).to(parameter.dtype)
            total.zero_()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    def __call__(self, loss: Tensor) -> None:
        """As `update`, where the loss of the step was already added: what the training loop calls."""
        self.update()


def follow(network: nn.Module) -> Any:
    """The hooks of Opacus on `network`, which keep each sample's gradients; raises UsageError for layers it cannot."""
    from opacus.grad_sample import GradSampleModule

    try:
        return GradSampleModule(network, batch_first=True, loss_reduction="sum")
    except (NotImplementedError, ValueError) as error:
        raise UsageError(f"Opacus cannot take this network: {_line(error)}") from error


def unfit(network: nn.Module) -> str:
    """Why Opacus cannot take `network`, in words; empty where it can. It needs to be installed."""
    require(WORK, "opacus")
    from opacus.validators import ModuleValidator

    errors = ModuleValidator.validate(network.train(), strict=False)
    return _line(errors[0]) if errors else ""


def summed(loss: Callable[[Tensor], Tensor], step: PrivateStep, index: Tensor) -> Tensor:
    """Add the gradients of the samples `index` of a step, some at once, where `loss` sums those of some.

    Returns a zero: a private step tells no loss, which would be of private samples without noise.
    """
    for part in _parts(index, step.few):
        step.add(loss(part))
    return torch.zeros(())


def _parts(index: Tensor, few: int) -> Iterator[Tensor]:
    return (part for part in index.split(few) if len(part))


def _of_samples(parameter: Any) -> Tensor:
    """The gradients of the samples of one backward pass, (n, *shape), with 0 for what is not finite."""
    gradient = parameter.grad_sample
    if not isinstance(gradient, Tensor):
        raise UsageError("Opacus tells no gradient of single samples for a layer of this network: leave the layer out")
    return gradient.float().nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)


def _line(error: object) -> str:
    return " ".join(str(error).split())[:200]
