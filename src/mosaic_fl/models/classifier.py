"""What the rest of the package asks of a classifier: logits and penultimate features."""

from typing import Any

import torch
from torch import Tensor, nn

from mosaic_fl.domains.samples import Samples
from mosaic_fl.models.inference import logits


class Classifier(nn.Module):
    """What networks take of samples (`Samples.inputs`) -> logits (n, C): of images float32 (n, c, h, w) in −1..1.

    Subclasses define `features`, the penultimate activations (n, d), and either `head`, the layer that makes
    logits of them, or a `forward` of their own.
    """

    head: nn.Module

    def features(self, inputs: Any) -> Tensor:
        """Penultimate activations (n, d)."""
        raise NotImplementedError

    def forward(self, inputs: Any) -> Tensor:
        """Logits (n, C)."""
        logits: Tensor = self.head(self.features(inputs))
        return logits

    def log_probabilities(self, samples: Samples, device: torch.device | str = "cpu") -> Tensor:
        """Logits float32 (n, C) on the CPU, which are log-probabilities up to a constant a sample."""
        return logits(self.to(device), samples, device)


class Wrapped(Classifier):
    """Any module that maps inputs to logits; its features are what enters the last `nn.Linear` that runs.

    Last in the order of work, which need not be the order of registration. Where no linear layer runs, the
    logits are the features.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, inputs: Any) -> Tensor:
        logits: Tensor = self.module(inputs)
        return logits

    def features(self, inputs: Any) -> Tensor:
        entered: list[Tensor] = []

        def record(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            entered[:] = [args[0] if args else kwargs["input"]]

        linear = [layer for layer in self.module.modules() if isinstance(layer, nn.Linear)]
        hooks = [layer.register_forward_pre_hook(record, with_kwargs=True) for layer in linear]
        try:
            logits = self.forward(inputs)
        finally:
            for hook in hooks:
                hook.remove()
        return (entered[0] if entered else logits).flatten(1)
