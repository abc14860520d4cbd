"""Dead leaves: shapes of all sizes that hide one another, as objects do (Lee, Mumford and Huang, IJCV 2001)."""

import math

import torch
from torch import Tensor

from mosaic_fl.domains.image.prior.draws import chance, colours, coordinates, log_uniform, uniform
from mosaic_fl.domains.image.prior.noise import fields

LEAVES = 24  # shapes a picture: with the radii below they cover it about four times
# bounds of a radius r, where the picture has coordinates −1..1; its density is proportional to 1/r
LEAST = 0.1
MOST = 1.0
FIGURES = 0.35  # share of pictures that are a few shapes around the middle of a plain ground, as of one object


def leaves(ground: Tensor, rng: torch.Generator) -> Tensor:
    """Discs, rectangles and polygons painted one over the other on `ground` (n, 3, h, w), which is overwritten.

    Leaves are shaded or textured in turn.
    """
    n, _, height, width = ground.shape
    y, x = coordinates(height, width)
    figure = chance(rng, FIGURES, n, 1, 1)
    texture = fields(n, 1, height, width, rng)
    for number in range(LEAVES):
        last = LEAVES - number <= 5  # a figure is made of the last few
        radius = torch.where(figure, uniform(rng, 0.25, 0.7, n, 1, 1), log_uniform(rng, LEAST, MOST, n, 1, 1))
        spread = torch.where(figure, 0.35, 1.1)
        dy, dx = (where - spread * uniform(rng, -1, 1, n, 1, 1) for where in (y, x))
        angle = uniform(rng, 0, 2 * math.pi, n, 1, 1)
        u = dx * angle.cos() + dy * angle.sin()
        v = dy * angle.cos() - dx * angle.sin()
        inside = (radius - _distance(u, v, rng)) * (max(height, width) / 2) + 0.5  # in pixels: an antialiased edge
        cover = inside.clamp_(0, 1)
        if not last:
            cover = cover.masked_fill_(figure, 0)
        pattern = texture * 0.25 if number % 2 else (u / radius)[:, None] * 0.25
        leaf = colours(rng, n) + uniform(rng, 0, 1, n, 1, 1, 1) * pattern
        ground.lerp_(leaf, cover[:, None])
    return ground.clamp_(0, 1)


def _distance(u: Tensor, v: Tensor, rng: torch.Generator) -> Tensor:
    """A size of (u, v) whose level sets are one kind of shape, drawn at random: (n, h, w)."""
    n = len(u)
    kind = int(torch.randint(4, (1,), generator=rng))
    stretch = log_uniform(rng, 1, 3, n, 1, 1)
    if kind == 0:
        return (u.square() + (v * stretch).square()).sqrt_()
    if kind == 1:
        return torch.maximum(u.abs(), v.abs() * stretch)
    corners = 3 if kind == 2 else 5
    farthest = torch.full_like(u, -math.inf)
    for corner in range(corners):
        angle = 2 * math.pi * (corner + uniform(rng, -0.25, 0.25, n, 1, 1)) / corners
        farthest = torch.maximum(farthest, u * angle.cos() + v * angle.sin())
    return farthest * 1.4  # a polygon reaches further than the disc in it
