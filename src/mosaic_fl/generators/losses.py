"""The terms of the GAN's generator and discriminator losses (docs/method.md, step 2)."""

import math
from types import TracebackType
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.utils.hooks import RemovableHandle


def adversarial_generator(fake: Tensor) -> Tensor:
    """E[−ln D(G(z))], the non-saturating loss (Goodfellow et al. 2014), from the discriminator's logits (n,)."""
    return F.softplus(-fake).mean()


def adversarial_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E[−ln D(x)] + E[−ln(1 − D(G(z)))], from the discriminator's logits (n,) and (m,)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def entropy(logits: Tensor) -> Tensor:
    """L_ent = E_z[H(y)] in nats, 0..ln C, from logits (n, C): small where each sample is classified with confidence."""
    log_p = logits.log_softmax(1)
    return -(log_p.exp() * log_p).sum(1).mean()


def diversity(logits: Tensor) -> Tensor:
    """L_div = −H(E_z[y]) in nats, −ln C..0, from logits (n, C): small where the batch covers all classes evenly."""
    log_mean = logits.log_softmax(1).logsumexp(0) - math.log(len(logits))
    return (log_mean.exp() * log_mean).sum()


class BatchStatistics:
    """L_inv: the distance of a batch from a frozen classifier's batch-norm statistics (DeepInversion, Yin et al. 2020).

    Within the block, every forward pass of `model` (in eval mode) records, for each batch-norm layer l with C_l
    channels, μ_batch − μ_running and σ²_batch − σ²_running, differentiable in the images. Of the latest pass, `loss()`
    is Σ_l (‖Δμ‖² + ‖Δσ²‖²) / C_l: the mean over channels keeps its scale whatever the width. `norms()` is
    Σ_l ‖Δμ‖ + ‖Δσ²‖. Both are 0 for a model without running statistics (`layers` is empty). The variance is the
    biased one, which one sample has too.
    """

    def __init__(self, model: nn.Module) -> None:
        self.layers = [
            m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) and m.running_mean is not None
        ]
        self.distances: dict[nn.Module, tuple[Tensor, Tensor]] = {}
        self.hooks: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        self.hooks = [layer.register_forward_pre_hook(self._record) for layer in self.layers]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for hook in self.hooks:
            hook.remove()
        self.distances.clear()  # and with them the graphs of the last pass

    def loss(self) -> Tensor:
        """The squared distances of the latest pass."""
        return _sum([mean.square().mean() + variance.square().mean() for mean, variance in self.distances.values()])

    def norms(self) -> Tensor:
        """The distances of the latest pass."""
        return _sum([mean.norm() + variance.norm() for mean, variance in self.distances.values()])

    def _record(self, layer: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)
        mean = layer.running_mean
        variance = layer.running_var
        assert mean is not None
        assert variance is not None
        batch_mean, batch_variance = _Moments.apply(inputs[0])  # type: ignore[no-untyped-call]
        self.distances[layer] = (batch_mean - mean, batch_variance - variance)


class _Moments(torch.autograd.Function):
    """Mean and biased variance (C,) of each channel of x (n, C, ...).

    It is one function for speed: `x.mean` and `x.var` cost five passes over x and its gradient, and a slow sum. That
    was a third of a step of DENSE's generator on a CPU.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> tuple[Tensor, Tensor]:
        channels_last = x.movedim(1, -1).reshape(-1, x.shape[1])
        mean = channels_last.mean(0)
        ctx.save_for_backward(x, mean)
        return mean, (channels_last - mean).square_().mean(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_mean: Tensor, of_variance: Tensor) -> Tensor:
        """∂mean/∂x = 1/n and ∂variance/∂x = 2(x − mean)/n, of n values a channel."""
        x, mean = ctx.saved_tensors
        n = x.numel() // x.shape[1]
        slope = 2 * of_variance / n
        a_channel = (-1, *[1] * (x.ndim - 2))
        return torch.addcmul((of_mean / n - slope * mean).view(a_channel), x, slope.view(a_channel))


def _sum(terms: list[Tensor]) -> Tensor:
    return torch.stack(terms).sum() if terms else torch.zeros(())
