"""The generator of DENSE and Co-Boosting: nearest-neighbour upsampling, 3×3 convolutions and batch norm.

It is the one of data-free distillation (Chen et al. 2019, DAFL, arXiv 1904.01186) and of both methods' published code.
Batch norm keeps the images of a batch apart while they are fitted together, and upsampling keeps neighbouring pixels
alike, as a network that begins anew for each batch has no time to learn.
"""

import torch
from torch import Tensor, nn

from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.generators.base import central

AXES = 3  # of an image: channels, height, width
QUARTER = 4  # the first map has a quarter of the image's sides
INIT = 0.02  # standard deviation of all weights around 0, and of batch norm's scales around 1
SLOPE = 0.2  # of the leaky ReLU below 0


class UpsamplingGenerator(nn.Module):
    """z (n, latent) -> images (n, channels, height, width) in −1..1; labels are ignored.

    A linear layer to 2·`width` maps of a quarter of the sides, each doubled twice before a convolution, to 2·`width`
    and to `width`; what exceeds the image is cropped centrally. In train mode the images depend on their batch. Raises
    UsageError for samples that have no height and width.
    """

    def __init__(self, latent: int, width: int, schema: Schema) -> None:
        super().__init__()
        if len(schema.shape) != AXES:
            raise UsageError(f"the server of this method makes images, and samples are {schema.kind.summary}")
        channels, *self.sides = schema.shape
        self.start = [-(-side // QUARTER) for side in self.sides]
        self.enter = nn.Linear(latent, 2 * width * self.start[0] * self.start[1])
        self.body = nn.Sequential(
            nn.BatchNorm2d(2 * width),
            *_doubled(2 * width, 2 * width),
            *_doubled(2 * width, width),
            nn.Conv2d(width, channels, 3, padding=1),
        )
        self.apply(_initialise)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        maps = self.enter(z).view(len(z), -1, *self.start)
        images: Tensor = 2 * torch.sigmoid(self.body(maps)) - 1
        return central(images, *self.sides)


def _doubled(before: int, after: int) -> list[nn.Module]:
    convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
    return [nn.Upsample(scale_factor=2), convolution, nn.BatchNorm2d(after), nn.LeakyReLU(SLOPE)]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, INIT)
    if isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, INIT)
    if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d) and module.bias is not None:
        nn.init.zeros_(module.bias)
