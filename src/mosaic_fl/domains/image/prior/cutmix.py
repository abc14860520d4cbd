"""CutMix (Yun et al., ICCV 2019): a rectangle of one picture is pasted into another. The results have no labels."""

import torch
from torch import Tensor

from mosaic_fl.domains.image.prior.draws import log_uniform, part, uniform
from mosaic_fl.errors import UsageError
from mosaic_fl.numerics.randomness import Stream

LEAST_AREA = 0.1
MOST_AREA = 0.6


def cutmix(images: Tensor, sources: Tensor, share: float, stream: Stream) -> Tensor:
    """A copy of `images` (n, c, h, w), of which round(share·n), drawn at random, hold a rectangle of one of `sources`.

    `sources` (m, c, h, w) are drawn with replacement; the rectangle lies at the same place in both, covers 0.1..0.6 of
    the picture (uniform, up to rounding to pixels) and is up to twice as long as wide, or what fits. m = 0 changes
    nothing. A changed image has no label. Raises UsageError for a share outside 0..1 and for
    pictures of two shapes.
    """
    if not 0 <= share <= 1:
        raise UsageError(f"the share of images to mix is {share}, but a share is 0..1")
    if images.shape[1:] != sources.shape[1:]:
        raise UsageError(f"images {tuple(images.shape[1:])} cannot be mixed with others {tuple(sources.shape[1:])}")
    results = images.clone()
    count = round(share * len(images))
    if not count or not len(sources):
        return results
    rng = part(stream, "cutmix").torch()
    into = torch.randperm(len(images), generator=rng)[:count]
    patches = sources[torch.randint(len(sources), (count,), generator=rng)]
    results[into] = torch.where(_rectangles(count, images.shape[-2], images.shape[-1], rng), patches, images[into])
    return results


def _rectangles(n: int, height: int, width: int, rng: torch.Generator) -> Tensor:
    """True inside one random rectangle a picture, (n, 1, height, width)."""
    area = uniform(rng, LEAST_AREA, MOST_AREA, n)
    aspect = torch.minimum(torch.maximum(log_uniform(rng, 0.5, 2, n), area), 1 / area)  # fits into the picture
    rows = ((area * aspect).sqrt(), height)
    columns = ((area / aspect).sqrt(), width)
    inside_y, inside_x = (_interval(extent, side, rng) for extent, side in (rows, columns))
    return inside_y[:, None, :, None] & inside_x[:, None, None, :]


def _interval(extent: Tensor, side: int, rng: torch.Generator) -> Tensor:
    """True inside a random interval of `extent` (n,) of the side, at least one pixel: (n, side)."""
    length = (extent * side).round().long().clamp(1, side)
    start = (torch.rand(len(extent), generator=rng) * (side - length + 1)).long()[:, None]
    pixel = torch.arange(side)[None]
    return (pixel >= start) & (pixel < start + length[:, None])
