"""The clients' models as one frozen function of images, differentiable in the images."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import torch
from torch import Tensor, nn

from mosaic_fl.generators.losses import BatchStatistics
from mosaic_fl.models.classifier import Classifier


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Within the block `model` is in eval mode and its weights ask for no gradient; then as before."""
    was_training = model.training
    gradients = [p.requires_grad for p in model.parameters()]
    model.eval().requires_grad_(False)
    try:
        yield
    finally:
        model.train(was_training)
        for parameter, before in zip(model.parameters(), gradients, strict=True):
            parameter.requires_grad_(before)


class FrozenExperts:
    """K classifiers on `device`, in eval mode for good: images (n, channels, height, width) in −1..1 -> (n, K, C).

    As a context manager it also records, at each call, how far the batch is from what their batch norm remembers.
    """

    def __init__(self, experts: Sequence[Classifier], device: torch.device) -> None:
        self.experts = [expert.to(device).eval().requires_grad_(False) for expert in experts]
        self._records = [BatchStatistics(expert) for expert in self.experts]

    def __call__(self, images: Tensor) -> Tensor:
        """The experts' logits (n, K, C)."""
        return torch.stack([expert(images) for expert in self.experts], 1)

    def __enter__(self) -> Self:
        for record in self._records:
            record.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for record in self._records:
            record.__exit__(kind, error, at)

    def statistics_loss(self) -> Tensor:
        """L_BN of the latest call in the block; 0 outside it, and without batch norm.

        Σ_k Σ_l ‖μ_batch − μ‖ + ‖σ²_batch − σ²‖ over the batch-norm layers l of all experts k: DENSE's eq. 4, with the
        sum over k of its authors' code.
        """
        terms = [record.norms() for record in self._records]
        return sum(terms[1:], terms[0])
