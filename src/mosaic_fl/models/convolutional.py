"""`cnn:WIDTH:DEPTH:GROUPS`, a plain convolutional network for small images."""

import math

from torch import Tensor, nn

from mosaic_fl.domains.schema import Schema
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.norms import norm
from mosaic_fl.models.registry import family

SMALLEST_MAP = 4  # pixels a side: smaller maps are not pooled, and the head gets maps of at most this size


@family("cnn")
class CNN(Classifier):
    """`depth` blocks of 3×3 convolution, batch norm, 2×2 max pooling and ReLU; block i has width·2ⁱ channels.

    With `groups` above 0 it has group norm. The last maps are averaged to at most 4×4 before the head.
    """

    def __init__(self, schema: Schema, width: int = 16, depth: int = 2, groups: int = 0) -> None:
        super().__init__()
        channels, height, side = schema.shape
        layers: list[nn.Module] = []
        for i in range(depth):
            out = width * 2**i
            layers += [nn.Conv2d(channels, out, 3, padding=1, bias=False), norm(out, groups)]
            if min(height, side) > SMALLEST_MAP:
                layers.append(nn.MaxPool2d(2))
                height = height // 2
                side = side // 2
            layers.append(nn.ReLU())  # after the pooling: the same values, on a quarter of the pixels
            channels = out
        self.body = nn.Sequential(*layers)
        # Not nn.AdaptiveAvgPool2d: where 4 does not divide the side, its windows overlap. Then its gradient on a GPU
        # varies from run to run, and ONNX cannot express it.
        window = math.ceil(height / SMALLEST_MAP), math.ceil(side / SMALLEST_MAP)
        self.pool = nn.AvgPool2d(window, ceil_mode=True)
        self.head = nn.Linear(
            channels * math.ceil(height / window[0]) * math.ceil(side / window[1]), schema.num_classes
        )

    def features(self, images: Tensor) -> Tensor:
        maps: Tensor = self.pool(self.body(images))
        return maps.flatten(1)
