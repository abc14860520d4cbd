"""`subclasses`, several linear logits a class: what a mixture discriminant is when it travels."""

import math

from torch import Tensor, nn

from mosaic_fl.domains.schema import Schema
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.registry import family


@family("subclasses")
class Subclasses(Classifier):
    """Logits log Σ_j exp(w_yj · x + b_yj) of `count` components a class (Hastie & Tibshirani 1996).

    `head.weight` (C·k, d) and `head.bias` (C·k,) have the components of a class one after the other. Features are the
    sample itself.
    """

    head: nn.Module

    def __init__(self, schema: Schema, count: int) -> None:
        super().__init__()
        self.body = nn.Flatten()
        self.head = Components(math.prod(schema.shape), schema.num_classes, count)

    def features(self, inputs: Tensor) -> Tensor:
        flat: Tensor = self.body(inputs)
        return flat


class Components(nn.Linear):
    """A linear layer to the components of all classes, and the sum of exponentials within each class."""

    def __init__(self, size: int, classes: int, count: int) -> None:
        super().__init__(size, classes * count)
        self.classes = classes

    def forward(self, features: Tensor) -> Tensor:
        """Logits (n, C)."""
        logits: Tensor = super().forward(features).unflatten(1, (self.classes, -1)).logsumexp(2)
        return logits
