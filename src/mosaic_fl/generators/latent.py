"""FedGen's light generator of penultimate features (Zhu, Hong & Zhou 2021, arXiv 2105.10056, section 3)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mosaic_fl.numerics.states import State


class LatentGenerator(nn.Module):
    """ε float32 (n, noise) standard normal, labels int64 (n,) -> features float32 (n, d) of those classes.

    ε and the label, one-hot, go through one hidden layer with batch norm and ReLU; the output is linear.
    """

    def __init__(self, noise: int, width: int, classes: int, features: int) -> None:
        super().__init__()
        self.classes = classes
        hidden = [nn.Linear(noise + classes, width), nn.BatchNorm1d(width), nn.ReLU()]
        self.body = nn.Sequential(*hidden, nn.Linear(width, features))

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        """Features (n, d)."""
        features: Tensor = self.body(torch.cat([noise, F.one_hot(labels, self.classes).to(noise)], 1))
        return features


@dataclass(frozen=True)
class Latent:
    """A latent generator as it travels to clients, with what they need to use it.

    `noise` is the size of ε, `width` that of the hidden layer, `features` d; `labels` float (C,) is p̂(y), from
    which labels are drawn. `weight` is that of the loss on generated features in a client's training.
    """

    noise: int
    width: int
    features: int
    labels: Tensor
    weight: float
    state: State

    def network(self) -> LatentGenerator:
        """A freshly initialised generator, into which `state` can be loaded."""
        return LatentGenerator(self.noise, self.width, len(self.labels), self.features)
