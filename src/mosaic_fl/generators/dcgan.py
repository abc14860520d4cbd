"""`dcgan` and `cdcgan`: the paper's GAN (Radford, Metz & Chintala 2016), unconditional and class-conditional."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mosaic_fl.data.schema import Schema
from mosaic_fl.generators.base import Generator, GeneratorSpec

SMALLEST_MAP = 4  # pixels a side where the generator starts and the discriminator ends, roughly
WIDEST = 8  # most channels, in base widths
INIT = 0.02  # standard deviation of all weights, as in the paper


def _doublings(schema: Schema) -> int:
    """Doublings from the smallest map to the image, at least one."""
    doublings = 1
    while min(schema.shape[1:]) > SMALLEST_MAP * 2**doublings:
        doublings += 1
    return doublings


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, INIT)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class DCGANGenerator(Generator):
    """A linear layer, then transposed convolutions of stride 2, batch norm and ReLU; tanh at the end.

    The conditional one joins an embedding of the label, of the latent's size, to z.
    """

    def __init__(self, spec: GeneratorSpec, schema: Schema) -> None:
        super().__init__()
        self.spec, self.shape, self.conditional = spec, schema.shape, spec.family == "cdcgan"
        doublings = _doublings(schema)
        self.start = tuple(-(-side // 2**doublings) for side in schema.shape[1:])
        channels = [spec.width * min(2**i, WIDEST) for i in reversed(range(doublings))]
        self.embed = nn.Embedding(schema.num_classes, spec.latent) if self.conditional else None
        inputs = spec.latent * (2 if self.conditional else 1)
        self.enter = nn.Linear(inputs, channels[0] * self.start[0] * self.start[1], bias=False)
        layers: list[nn.Module] = [nn.BatchNorm2d(channels[0]), nn.ReLU()]
        for before, after in pairwise(channels):
            layers += [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.ConvTranspose2d(channels[-1], schema.shape[0], 4, 2, 1), nn.Tanh())
        self.apply(_initialise)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        if self.embed is not None:
            z = torch.cat([z, self.embed(labels)], 1)
        images: Tensor = self.body(self.enter(z).view(len(z), -1, *self.start))
        _, height, width = self.shape
        top, left = (images.shape[2] - height) // 2, (images.shape[3] - width) // 2
        return images[..., top : top + height, left : left + width]


class Discriminator(nn.Module):
    """Convolutions of stride 2 and leaky ReLU, without batch norm, which would see real and fake batches apart.

    The conditional one sees its label as C constant maps beside the image. Never leaves the client.
    """

    def __init__(self, spec: GeneratorSpec, schema: Schema) -> None:
        super().__init__()
        self.classes = schema.num_classes if spec.family == "cdcgan" else 0
        channels, (height, width) = schema.shape[0] + self.classes, schema.shape[1:]
        layers: list[nn.Module] = []
        for i in range(_doublings(schema)):
            out = spec.width * min(2**i, WIDEST)
            layers += [nn.Conv2d(channels, out, 4, 2, 1), nn.LeakyReLU(0.2)]
            channels, height, width = out, height // 2, width // 2
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * height * width, 1))
        self.apply(_initialise)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Logits (n,): real is positive."""
        if self.classes:
            maps = F.one_hot(labels, self.classes).to(images.dtype)[:, :, None, None]
            images = torch.cat([images, maps.expand(-1, -1, *images.shape[2:])], 1)
        logits: Tensor = self.body(images)
        return logits.flatten()
