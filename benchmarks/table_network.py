"""The network of FedAvg and FedProx on tables: without batch norm, whose averages fit no client of one class."""

import math

from torch import Tensor, nn

from mosaic_fl.domains.schema import Schema


class Perceptron(nn.Module):
    """Two hidden layers of 128 units: float32 (n, width) -> logits (n, C)."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU())
        self.head = nn.Linear(128, classes)

    def features(self, inputs: Tensor) -> Tensor:
        """(n, width) -> (n, 128)."""
        hidden: Tensor = self.body(inputs)
        return hidden

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, width) -> (n, C)."""
        logits: Tensor = self.head(self.features(inputs))
        return logits


def plain(schema: Schema) -> nn.Module:
    """The network for rows of the schema."""
    return Perceptron(math.prod(schema.shape), schema.num_classes)
