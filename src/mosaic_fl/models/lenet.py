"""`lenet`, the five-layer network on which much of federated learning was published.

LeNet-5 (LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to document recognition") as NIID-Bench
has it (Li, Diao, Chen & He 2022, arXiv 2102.02079): ReLU and max pooling, without padding. It has no batch norm, so a
method's terms of batch-norm statistics are zero here.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from mosaic_fl.domains.schema import Schema
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.registry import family

LEAST = 16  # pixels a side for a last map of one pixel


@family("lenet")
class LeNet(Classifier):
    """5×5 convolutions with 6 and 16 channels, each pooled by 2, then 120, 84 and as many units as classes.

    Sides below 16 are padded with zeros (mid-grey) at the right and the bottom.
    """

    def __init__(self, schema: Schema) -> None:
        super().__init__()
        channels, height, width = schema.shape
        self.padding = (0, max(0, LEAST - width), 0, max(0, LEAST - height))
        self.first = nn.Conv2d(channels, 6, 5)
        self.second = nn.Conv2d(6, 16, 5)
        rows, columns = (_last_map(max(LEAST, side)) for side in (height, width))
        self.third = nn.Linear(16 * rows * columns, 120)
        self.fourth = nn.Linear(120, 84)
        self.head = nn.Linear(84, schema.num_classes)

    def features(self, images: Tensor) -> Tensor:
        maps = F.relu(F.max_pool2d(self.first(F.pad(images, self.padding)), 2))
        maps = F.relu(F.max_pool2d(self.second(maps), 2))
        return F.relu(self.fourth(F.relu(self.third(maps.flatten(1)))))


def _last_map(side: int) -> int:
    """Pixels a side of the last maps: 28 -> 4, 32 -> 5."""
    return ((side - 4) // 2 - 4) // 2
