"""The terms of the GAN's generator and discriminator losses (METHOD: pipeline step 2)."""

import math
from types import TracebackType
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d


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
    """L_inv: how far a batch is from what a frozen classifier remembers (DeepInversion, Yin et al. 2020).

    Within the block, every forward pass of `model` (in eval mode) records, for each batch-norm layer l with C_l
    channels, μ_batch − μ_running and σ²_batch − σ²_running, differentiable in the images. Of the latest pass, `loss()`
    is Σ_l (‖Δμ‖² + ‖Δσ²‖²) / C_l: the mean over channels keeps its scale whatever the width. `norms()` is
    Σ_l ‖Δμ‖ + ‖Δσ²‖. Both are 0 for a model without batch norm that remembers (`layers` is empty). The variance is the
    biased one, so one sample will do.
    """

    def __init__(self, model: nn.Module) -> None:
        self.layers = [
            m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) and m.running_mean is not None
        ]
        self.apart: dict[nn.Module, tuple[Tensor, Tensor]] = {}
        self.hooks: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        self.hooks = [layer.register_forward_pre_hook(self._record) for layer in self.layers]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for hook in self.hooks:
            hook.remove()
        self.apart.clear()  # and with them the graphs of the last pass

    def loss(self) -> Tensor:
        """The squared distances of the latest pass."""
        return _sum([mean.square().mean() + variance.square().mean() for mean, variance in self.apart.values()])

    def norms(self) -> Tensor:
        """The distances of the latest pass."""
        return _sum([mean.norm() + variance.norm() for mean, variance in self.apart.values()])

    def _record(self, layer: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)
        mean, variance = layer.running_mean, layer.running_var
        assert mean is not None
        assert variance is not None
        over = [d for d in range(inputs[0].ndim) if d != 1]
        batch_mean, batch_variance = inputs[0].mean(over), inputs[0].var(over, unbiased=False)
        self.apart[layer] = (batch_mean - mean, batch_variance - variance)


def _sum(terms: list[Tensor]) -> Tensor:
    return torch.stack(terms).sum() if terms else torch.zeros(())
