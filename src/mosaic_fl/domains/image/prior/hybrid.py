"""Hybrid images (Oliva, Torralba and Schyns, SIGGRAPH 2006): the layout of one picture with the detail of another.

A small generator draws blurred samples. They have the right layout and colours but no detail, so an expert takes them
for a smooth class. A crop of a photograph has detail and no layout. Together they excite an expert at all scales.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mosaic_fl.domains.image.prior.draws import part, uniform
from mosaic_fl.errors import UsageError
from mosaic_fl.numerics.randomness import Stream

BLUR = 4  # pixels averaged for the layout: a conditional VAE lacks finer detail on 32×32 images
# factors on the detail
LEAST = 0.3
MOST = 1.5


def hybrids(pictures: Tensor, samples: Tensor, stream: Stream) -> Tensor:
    """The detail of each of `pictures` on the layout of one of `samples`, uint8 (n, c, h, w) as `pictures`.

    `samples` uint8 (m, c, h, w) are drawn with replacement, the strength of the detail is uniform in 0.3..1.5. The
    results have no labels. m = 0 gives the pictures back. Raises UsageError for pictures of two shapes.
    """
    if pictures.shape[1:] != samples.shape[1:]:
        raise UsageError(f"pictures {tuple(pictures.shape[1:])} and samples {tuple(samples.shape[1:])} do not fit")
    if not len(samples):
        return pictures
    rng = part(stream, "hybrids").torch()
    n = len(pictures)
    layout = samples[torch.randint(len(samples), (n,), generator=rng)].to(torch.float32)
    pixels = pictures.to(torch.float32)
    images = layout + uniform(rng, LEAST, MOST, n, 1, 1, 1) * (pixels - _low_frequencies(pixels))
    return images.round_().clamp_(0, 255).to(torch.uint8)


def _low_frequencies(pictures: Tensor) -> Tensor:
    """The low frequencies of float pictures (n, c, h, w)."""
    height, width = pictures.shape[2:]
    small = F.interpolate(pictures, size=(-(-height // BLUR), -(-width // BLUR)), mode="area")
    return F.interpolate(small, size=(height, width), mode="bilinear")
