"""The interface of a classifier: logits and penultimate features. `Wrapper` gives it to any module."""

from typing import Any

import torch
from torch import Tensor, nn

from mosaic_fl.domains.samples import Samples
from mosaic_fl.models.inference import logits


class Classifier(nn.Module):
    """A network from `Samples.inputs` to logits (n, C). The inputs of images are float32 (n, c, h, w) in −1..1.

    Subclasses define `features`, the penultimate activations (n, d), and either `head`, the layer from
    these to logits, or a `forward` of their own.
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


class Wrapper(Classifier):
    """Any module from inputs to logits. Its features are the inputs of the last `nn.Linear` that runs.

    "Last" is in the order of execution, which may differ from the order of registration. Where no linear layer runs,
    the logits are the features.
    """

    can_be_captured = False  # as a CUDA graph: nobody knows whether a foreign module waits for the device

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, inputs: Any) -> Tensor:
        logits: Tensor = self.module(inputs)
        return logits

    def features(self, inputs: Any) -> Tensor:
        head_inputs: list[Tensor] = []

        def record(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            head_inputs[:] = [args[0] if args else kwargs["input"]]

        linear = [layer for layer in self.module.modules() if isinstance(layer, nn.Linear)]
        hooks = [layer.register_forward_pre_hook(record, with_kwargs=True) for layer in linear]
        try:
            logits = self.forward(inputs)
        finally:
            for hook in hooks:
                hook.remove()
        return (head_inputs[0] if head_inputs else logits).flatten(1)
