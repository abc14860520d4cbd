"""What the rest of the package asks of a classifier: logits and penultimate features."""

from typing import Any

from torch import Tensor, nn


class Classifier(nn.Module):
    """Images float32 (n, channels, height, width) in −1..1 -> logits (n, C).

    Subclasses define `features`, the penultimate activations (n, d), and either `head`, the layer that makes
    logits of them, or a `forward` of their own.
    """

    head: nn.Module

    def features(self, images: Tensor) -> Tensor:
        """Penultimate activations (n, d)."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, C)."""
        logits: Tensor = self.head(self.features(images))
        return logits


class Wrapped(Classifier):
    """Any module that maps images to logits; its features are what enters the last `nn.Linear` that runs.

    Last in the order of work, which need not be the order of registration. Where no linear layer runs, the
    logits are the features.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.module(images)
        return logits

    def features(self, images: Tensor) -> Tensor:
        entered: list[Tensor] = []

        def record(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            entered[:] = [args[0] if args else kwargs["input"]]

        linear = [layer for layer in self.module.modules() if isinstance(layer, nn.Linear)]
        hooks = [layer.register_forward_pre_hook(record, with_kwargs=True) for layer in linear]
        try:
            logits = self.forward(images)
        finally:
            for hook in hooks:
                hook.remove()
        return (entered[0] if entered else logits).flatten(1)
