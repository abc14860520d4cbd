"""What the rest of the package asks of a classifier: logits and penultimate features."""

from torch import Tensor, nn


class Classifier(nn.Module):
    """Images float32 (n, channels, height, width) in −1..1 -> logits (n, C).

    Subclasses define `features`, the penultimate activations (n, d), and `head`, the last layer.
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
    """Any module that maps images to logits; its features are what enters its last `nn.Linear`.

    A module without a linear layer has its logits as features.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        linear = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
        # Kept out of the module tree: the layer already is in it, once.
        self.__dict__["last"] = linear[-1] if linear else None

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.module(images)
        return logits

    def features(self, images: Tensor) -> Tensor:
        last = self.__dict__["last"]
        if last is None:
            return self.forward(images).flatten(1)
        seen: list[Tensor] = []
        hook = last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            self.module(images)
        finally:
            hook.remove()
        return seen[-1].flatten(1)
