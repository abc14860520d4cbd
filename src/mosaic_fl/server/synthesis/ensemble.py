"""The clients' models as one frozen function of images, differentiable in the images."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mosaic_fl.models.classifier import Classifier

BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d)


@contextmanager
def held(model: nn.Module) -> Iterator[None]:
    """Within the block `model` is in eval mode and its weights ask for no gradient; then as before."""
    was_training, asked = model.training, [p.requires_grad for p in model.parameters()]
    model.eval().requires_grad_(False)
    try:
        yield
    finally:
        model.train(was_training)
        for parameter, before in zip(model.parameters(), asked, strict=True):
            parameter.requires_grad_(before)


class FrozenExperts:
    """K classifiers on `device`, in eval mode for good: images (n, channels, height, width) in −1..1 -> (n, K, C).

    As a context manager it also records, at each call, how far the batch is from what their batch norm remembers.
    """

    def __init__(self, experts: Sequence[Classifier], device: torch.device) -> None:
        self.experts = [expert.to(device).eval().requires_grad_(False) for expert in experts]
        self._hooks: list[RemovableHandle] = []
        self._apart: dict[nn.Module, Tensor] = {}

    def __call__(self, images: Tensor) -> Tensor:
        """The experts' logits (n, K, C)."""
        return torch.stack([expert(images) for expert in self.experts], 1)

    def __enter__(self) -> Self:
        layers = [layer for expert in self.experts for layer in expert.modules() if isinstance(layer, BATCH_NORM)]
        self._hooks = [
            layer.register_forward_pre_hook(self._record) for layer in layers if layer.running_mean is not None
        ]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for hook in self._hooks:
            hook.remove()
        self._apart.clear()

    def statistics_loss(self) -> Tensor:
        """L_BN of the latest call in the block; 0 outside it, and without batch norm.

        Σ_k Σ_l ‖μ_batch − μ‖ + ‖σ²_batch − σ²‖ over the batch-norm layers l of all experts k: DENSE's eq. 4, with the
        sum over k of its authors' code.
        """
        return torch.stack(list(self._apart.values())).sum() if self._apart else torch.zeros(())

    def _record(self, layer: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(layer, BATCH_NORM)
        assert layer.running_mean is not None
        assert layer.running_var is not None
        over = [d for d in range(inputs[0].ndim) if d != 1]
        mean, variance = inputs[0].mean(over), inputs[0].var(over, unbiased=False)
        self._apart[layer] = (mean - layer.running_mean).norm() + (variance - layer.running_var).norm()
