"""`mlp:WIDTH:DEPTH:GROUPS`, a multilayer perceptron on flattened samples of any kind with one shape."""

import math
from itertools import pairwise

from torch import Tensor, nn

from mosaic_fl.domains.schema import Schema
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.norms import norm
from mosaic_fl.models.registry import family


@family("mlp")
class MLP(Classifier):
    """`depth` fully connected hidden layers of `width` units with batch norm and ReLU; group norm with `groups`."""

    def __init__(self, schema: Schema, width: int = 64, depth: int = 2, groups: int = 0) -> None:
        super().__init__()
        sizes = [math.prod(schema.shape), *[width] * depth]
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after, bias=False), norm(after, groups, 1), nn.ReLU()]
        self.body = nn.Sequential(nn.Flatten(), *layers)
        self.head = nn.Linear(width, schema.num_classes)

    def features(self, inputs: Tensor) -> Tensor:
        hidden: Tensor = self.body(inputs)
        return hidden
