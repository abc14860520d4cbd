"""`dcgan` and `cdcgan`: the paper's GAN (Radford, Metz & Chintala 2016), unconditional and class-conditional.

Two things differ from that paper, both measured on digits and MNIST: one more 3×3 convolution at full resolution at
either end, and group norm with one group (Ba, Kiros & Hinton 2016) for batch norm, equally good in the generator and
better in the discriminator, which leaves every sample independent of its batch.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from mosaic_fl.domains.schema import Schema
from mosaic_fl.generators.base import Generator, GeneratorSpec, central

SMALLEST_MAP = 4  # pixels a side where the generator starts and the discriminator ends, roughly
WIDEST = 8  # most channels, in base widths
INIT = 0.02  # standard deviation of all weights, as in the paper
SLOPE = 0.2  # of the leaky ReLU below 0, as in the paper


def _doublings(schema: Schema) -> int:
    """Doublings from the smallest map to the image, at least one."""
    doublings = 1
    while min(schema.shape[1:]) > SMALLEST_MAP * 2**doublings:
        doublings += 1
    return doublings


def _initialise(module: nn.Module) -> None:
    # The embeddings too: a label as loud as z, as with N(0, 1), makes the generator deaf to z (measured).
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, 0.0, INIT)
        if not isinstance(module, nn.Embedding) and module.bias is not None:
            nn.init.zeros_(module.bias)


def _normalised(channels: int, activation: nn.Module) -> list[nn.Module]:
    return [nn.GroupNorm(1, channels), activation]


class DCGANGenerator(Generator):
    """A linear layer, then transposed convolutions of stride 2, norm and ReLU; a 3×3 convolution and tanh at the end.

    Channels halve as the map doubles, down to `spec.width` at the image's size, which is then cropped centrally. The
    conditional one joins an embedding of the label, of the latent's size, to z.
    """

    def __init__(self, spec: GeneratorSpec, schema: Schema) -> None:
        super().__init__()
        self.spec, self.shape, self.conditional = spec, schema.shape, spec.family == "cdcgan"
        doublings = _doublings(schema)
        self.start = tuple(-(-side // 2**doublings) for side in schema.shape[1:])
        channels = [spec.width * min(2**i, WIDEST) for i in reversed(range(doublings + 1))]
        self.embed = nn.Embedding(schema.num_classes, spec.latent) if self.conditional else None
        inputs = spec.latent * (2 if self.conditional else 1)
        self.enter = nn.Linear(inputs, channels[0] * self.start[0] * self.start[1], bias=False)
        layers = _normalised(channels[0], nn.ReLU())
        for before, after in pairwise(channels):
            layers += [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), *_normalised(after, nn.ReLU())]
        self.body = nn.Sequential(*layers, nn.Conv2d(channels[-1], schema.shape[0], 3, padding=1), nn.Tanh())
        self.apply(_initialise)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        if self.embed is not None:
            z = torch.cat([z, self.embed(labels)], 1)
        images: Tensor = self.body(self.enter(z).view(len(z), -1, *self.start))
        return central(images, *self.shape[1:])


class Discriminator(nn.Module):
    """The generator's mirror image: a 3×3 convolution, then convolutions of stride 2, norm and leaky ReLU.

    The conditional one is a projection discriminator (Miyato & Koyama 2018): with features h and the label's
    embedding e_y, its logit is w·h + b + e_y·h. Never leaves the client.
    """

    def __init__(self, spec: GeneratorSpec, schema: Schema) -> None:
        super().__init__()
        (channels, height, width), out = schema.shape, spec.width
        layers: list[nn.Module] = [nn.Conv2d(channels, out, 3, padding=1), nn.LeakyReLU(SLOPE)]
        for i in range(_doublings(schema)):
            channels, out = out, spec.width * min(2 ** (i + 1), WIDEST)
            tall, wide = int(height > 1), int(width > 1)  # a single pixel is not halved
            halve = nn.Conv2d(channels, out, (1 + 3 * tall, 1 + 3 * wide), (1 + tall, 1 + wide), (tall, wide))
            layers += [halve, *_normalised(out, nn.LeakyReLU(SLOPE))]
            height, width = max(1, height // 2), max(1, width // 2)
        self.body = nn.Sequential(*layers, nn.Flatten())
        features = out * height * width
        self.head = nn.Linear(features, 1)
        self.embed = nn.Embedding(schema.num_classes, features) if spec.family == "cdcgan" else None
        self.apply(_initialise)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Logits (n,): real is positive."""
        features: Tensor = self.body(images)
        logits: Tensor = self.head(features).flatten()
        return logits if self.embed is None else logits + (self.embed(labels) * features).sum(1)
