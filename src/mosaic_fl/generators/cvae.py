"""`cvae`: a class-conditional variational auto-encoder (Kingma & Welling 2014; Sohn, Lee & Yan 2015).

Trains in seconds on a CPU, has no mode collapse with a single class, and its decoder, all that is sent, is small.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mosaic_fl.domains.schema import Schema
from mosaic_fl.generators.base import Generator, GeneratorSpec
from mosaic_fl.generators.density import ClassMixture

SMALLEST_MAP = 4  # pixels a side at which the decoder starts


def _levels(schema: Schema) -> int:
    """Halvings from the image to a map of `SMALLEST_MAP` to 2·`SMALLEST_MAP` − 1 pixels."""
    levels, side = 0, min(schema.shape[1:])
    while side >= 2 * SMALLEST_MAP and levels < 3:
        levels, side = levels + 1, (side + 1) // 2
    return levels


def _map(schema: Schema, levels: int) -> tuple[int, int]:
    _, height, width = schema.shape
    return -(-height // 2**levels), -(-width // 2**levels)


class Decoder(Generator):
    """p(x | z, y): a linear layer, then transposed convolutions that double the map, then a 3×3 convolution.

    Samples are not drawn at N(0, 1) but from `density`, a mixture a class.
    """

    conditional = True

    def __init__(self, spec: GeneratorSpec, schema: Schema) -> None:
        super().__init__()
        self.spec, self.shape, self.classes = spec, schema.shape, schema.num_classes
        self.density = ClassMixture(self.classes, spec.latent)
        levels = _levels(schema)
        self.start = _map(schema, levels)
        channels = spec.width * 2 ** min(levels, 2)
        self.enter = nn.Linear(spec.latent + self.classes, channels * self.start[0] * self.start[1])
        layers: list[nn.Module] = [nn.ReLU()]
        for _ in range(levels):
            out = max(spec.width, channels // 2)
            layers += [nn.ConvTranspose2d(channels, out, 4, 2, 1), nn.ReLU()]
            channels = out
        self.body = nn.Sequential(*layers, nn.Conv2d(channels, schema.shape[0], 3, padding=1))

    def pixel_logits(self, z: Tensor, labels: Tensor) -> Tensor:
        """Logits of the pixels' brightness, (n, channels, height, width)."""
        hidden = self.enter(torch.cat([z, F.one_hot(labels, self.classes).to(z.dtype)], 1))
        images: Tensor = self.body(hidden.view(len(z), -1, *self.start))
        return images[..., : self.shape[1], : self.shape[2]]

    def check(self) -> None:
        self.density.check()

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return self.pixel_logits(self.density(z, labels), labels).sigmoid() * 2 - 1


class Encoder(nn.Module):
    """q(z | x, y): the decoder's mirror image; never leaves the client."""

    def __init__(self, spec: GeneratorSpec, schema: Schema) -> None:
        super().__init__()
        self.classes = schema.num_classes
        levels, channels = _levels(schema), schema.shape[0]
        layers: list[nn.Module] = []
        for level in range(max(1, levels)):
            out = spec.width * 2 ** min(level, 2)
            layers += [nn.Conv2d(channels, out, 3, 2 if levels else 1, 1), nn.ReLU()]
            channels = out
        self.body = nn.Sequential(*layers, nn.Flatten())
        height, width = _map(schema, levels)
        self.exit = nn.Linear(channels * height * width + self.classes, 2 * spec.latent)

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of z, each (n, latent)."""
        hidden = torch.cat([self.body(images), F.one_hot(labels, self.classes).to(images.dtype)], 1)
        mean, log_variance = self.exit(hidden).chunk(2, 1)
        return mean, log_variance.clamp(-12, 6)


def evidence_loss(pixel_logits: Tensor, images: Tensor, mean: Tensor, log_variance: Tensor, kl: float) -> Tensor:
    """−ELBO a sample in nats: Bernoulli reconstruction summed over pixels + kl · KL(q(z | x, y) ‖ N(0, 1)).

    `images` in −1..1; Kingma & Welling 2014, equation 10, with the weight of β-VAE (Higgins et al. 2017).
    """
    reconstruction = F.binary_cross_entropy_with_logits(pixel_logits, (images + 1) / 2, reduction="sum")
    divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()
    return (reconstruction + kl * divergence) / len(images)
