"""Gratings, rings, plaids and checks: periodic pictures of two colours."""

import math

import torch
from torch import Tensor

from mosaic_fl.domains.image.prior.draws import chance, colours, coordinates, log_uniform, uniform


def gratings(n: int, height: int, width: int, rng: torch.Generator) -> Tensor:
    """n pictures (n, 3, h, w) in 0..1: 1 to 8 periods a picture, any direction, from sine to hard edges."""
    y, x = coordinates(height, width)
    first, second = (_wave(n, y, x, rng) for _ in range(2))
    style = torch.rand(n, 1, 1, 1, generator=rng)
    wave = torch.where(style < 0.2, first * second, torch.where(style < 0.4, (first + second) / 2, first))
    hard = torch.tanh(wave * log_uniform(rng, 0.7, 12, n, 1, 1, 1))
    mask = 0.5 + 0.5 * hard
    return torch.lerp(colours(rng, n), colours(rng, n), mask)


def _wave(n: int, y: Tensor, x: Tensor, rng: torch.Generator) -> Tensor:
    """A plane wave, or for some pictures rings around a random point: (n, 1, h, w) in −1..1."""
    angle, phase = (uniform(rng, 0, 2 * math.pi, n, 1, 1, 1) for _ in range(2))
    plane = x * angle.cos() + y * angle.sin()
    middle_y, middle_x = (uniform(rng, -1, 1, n, 1, 1, 1) for _ in range(2))
    rings = ((y - middle_y).square() + (x - middle_x).square()).sqrt()
    bend = uniform(rng, -0.4, 0.4, n, 1, 1, 1) * (y * angle.cos() - x * angle.sin()).square()
    distance = torch.where(chance(rng, 0.2, n, 1, 1, 1), rings, plane + bend)
    # At least 4 pixels a period.
    periods = log_uniform(rng, 0.5, max(1.0, min(4.0, max(y.shape[0], x.shape[1]) / 8)), n, 1, 1, 1)
    return torch.sin(2 * math.pi * periods * distance + phase)
