"""Pictures from random rules, without any photograph: dead leaves, noise, stroke drawings, gratings."""

import torch
from torch import Tensor

from mosaic_fl.domains.image.prior.channels import finish
from mosaic_fl.domains.image.prior.draws import chance, colours, uniform
from mosaic_fl.domains.image.prior.gratings import gratings
from mosaic_fl.domains.image.prior.leaves import leaves
from mosaic_fl.domains.image.prior.noise import noise
from mosaic_fl.domains.image.prior.strokes import strokes

# Share of each kind, (leaves, noise, strokes, gratings): grey task data are more often drawings.
GREY = (0.3, 0.1, 0.5, 0.1)
COLOUR = (0.5, 0.2, 0.15, 0.15)
STROKES = 2  # the place of stroke drawings there


def procedural(n: int, shape: tuple[int, int, int], rng: torch.Generator) -> Tensor:
    """n pictures, uint8 (n, *shape), of all kinds in random order."""
    channels, height, width = shape
    share = torch.tensor(GREY if channels == 1 else COLOUR)
    kinds = torch.multinomial(share, n, replacement=True, generator=rng)
    images = torch.empty(n, *shape, dtype=torch.uint8)
    for kind in kinds.unique().tolist():
        mine = (kinds == kind).nonzero().flatten()
        pictures = _pictures(kind, len(mine), height, width, rng)
        images[mine] = finish(pictures, shape, rng, drawings=kind == STROKES)
    return images


def drawings(n: int, shape: tuple[int, int, int], rng: torch.Generator) -> Tensor:
    """n stroke drawings alone, uint8 (n, *shape)."""
    return finish(_pictures(STROKES, n, *shape[1:], rng), shape, rng, drawings=True)


def _pictures(kind: int, n: int, height: int, width: int, rng: torch.Generator) -> Tensor:
    """n pictures of one kind, float32 (n, 3, h, w) in about 0..1."""
    if kind == 0:
        return leaves(_grounds(n, height, width, rng), rng)
    if kind == 1:
        return noise(n, height, width, rng)
    if kind == 3:
        return gratings(n, height, width, rng)
    ground = _grounds(n, height, width, rng)
    ink = colours(rng, n)
    # Mostly light ink on a dark ground, else dark on light, with a clear contrast.
    dark = chance(rng, 0.7, n, 1, 1, 1)
    ground = ground * uniform(rng, 0, 0.5, n, 1, 1, 1)
    ink = 1 - ink * uniform(rng, 0, 0.8, n, 1, 1, 1).square_()
    return strokes(torch.where(dark, ground, 1 - ground), torch.where(dark, ink, 1 - ink), rng)


def _grounds(n: int, height: int, width: int, rng: torch.Generator) -> Tensor:
    """Grounds to draw on, (n, 3, h, w): half of them black, a quarter of one colour, a quarter noise."""
    style = torch.rand(n, 1, 1, 1, generator=rng)
    flat = torch.where(style < 0.5, 0.0, colours(rng, n))
    return torch.where(style < 0.75, flat, noise(n, height, width, rng)).clamp_(0, 1)
