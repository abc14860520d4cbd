"""Random numbers for pictures: one value a picture, in a shape that broadcasts over (n, channels, h, w)."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from mosaic_fl.numerics.randomness import Stream


def part(stream: Stream, name: str) -> Stream:
    """The stream of one part of a stage."""
    return replace(stream, stage=f"{stream.stage}/{name}")


def uniform(rng: torch.Generator, least: float, most: float, *shape: int) -> Tensor:
    """Uniform in least..most, float32."""
    return torch.rand(shape, generator=rng) * (most - least) + least


def log_uniform(rng: torch.Generator, least: float, most: float, *shape: int) -> Tensor:
    """Log-uniform in least..most, float32: as many between 1 and 2 as between 2 and 4."""
    return uniform(rng, math.log(least), math.log(most), *shape).exp_()


def chance(rng: torch.Generator, share: float, *shape: int) -> Tensor:
    """True with probability `share`."""
    return torch.rand(shape, generator=rng) < share


def colours(rng: torch.Generator, n: int) -> Tensor:
    """Colours in 0..1, (n, 3, 1, 1): a grey level plus a chroma, as often small as large, as in photographs."""
    chroma = torch.randn(n, 3, 1, 1, generator=rng) * uniform(rng, 0, 0.4, n, 1, 1, 1)
    return (uniform(rng, 0, 1, n, 1, 1, 1) + chroma).clamp_(0, 1)


def coordinates(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Pixel centres y (h, 1) and x (1, w), where the longer side runs over −1..1 and the middle is 0."""
    long = max(height, width)
    y, x = (2 * torch.arange(side, dtype=torch.float32) + 1 - side for side in (height, width))
    return (y / long)[:, None], (x / long)[None, :]
