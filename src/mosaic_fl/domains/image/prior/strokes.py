"""Stroke drawings: a few smooth lines on a ground, which look like digits and letters of an unknown script."""

import math

import torch
from torch import Tensor

from mosaic_fl.domains.image.prior.draws import chance, coordinates, log_uniform, uniform

# most strokes a picture; points along a stroke
STROKES = 3
POINTS = 40
SCRIBBLES = 0.15  # share of pictures whose strokes run out of the picture


def strokes(ground: Tensor, ink: Tensor, rng: torch.Generator) -> Tensor:
    """Lines in the colour `ink` (n, 3, 1, 1) on `ground` (n, 3, h, w), which is overwritten.

    One to three strokes whose curvature changes linearly (straight lines, arcs, loops, S-shapes), most of them joined,
    fitted around the middle; the pen is 5 to 20 % of the picture wide.
    """
    n, _, height, width = ground.shape
    y, x = coordinates(height, width)
    points_y, points_x, spacing = _points(n, rng)
    nearest = torch.full((n, height, width), math.inf)
    for at in range(points_y.shape[1]):
        dy = y - points_y[:, at, None, None]
        dx = x - points_x[:, at, None, None]
        nearest = torch.minimum(nearest, dy.square() + dx.square())
    radius = log_uniform(rng, 0.05, 0.2, n, 1, 1).clamp_(min=1.2 / max(height, width))
    radius = torch.maximum(radius, spacing[:, :, None])  # with a smaller radius the points would be visible one by one
    sharp = log_uniform(rng, 1.5, 5, n, 1, 1) * max(height, width) / 2
    cover = torch.sigmoid((radius - nearest.sqrt_()) * sharp)
    return ground.lerp_(ink, cover[:, None]).clamp_(0, 1)


def _points(n: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """y and x of the points along all strokes, each (n, STROKES·POINTS), and the widest spacing along a stroke (n, 1).

    The picture runs over −1..1.
    """
    time = torch.linspace(-1, 1, POINTS)
    number = torch.randint(1, STROKES + 1, (n, 1), generator=rng)
    ys: list[Tensor] = []
    xs: list[Tensor] = []
    widest = torch.zeros(n, 1)
    for stroke in range(STROKES):
        heading = uniform(rng, 0, 2 * math.pi, n, 1)
        straight = chance(rng, 0.3, n, 1)
        bend = torch.where(straight, 0.1, 1.0) * uniform(rng, -7, 7, n, 1)  # curvature times length: 2π is a circle
        change = chance(rng, 0.5, n, 1) * uniform(rng, -8, 8, n, 1) * ~straight  # 0: an arc, a circle, a spiral
        angle = heading + bend * time / 2 + change * time.square() / 4
        step = log_uniform(rng, 0.5, 1.6, n, 1) / POINTS
        widest = torch.where(stroke < number, torch.maximum(widest, step), widest)
        y = (step * angle.sin()).cumsum(1)
        x = (step * angle.cos()).cumsum(1)
        if stroke:
            joint = torch.randint(POINTS, (n, 1), generator=rng)
            apart = torch.where(chance(rng, 0.3, n, 1), 0.3, 0.0)
            y = y + ys[0].gather(1, joint) + apart * torch.randn(n, 1, generator=rng)
            x = x + xs[0].gather(1, joint) + apart * torch.randn(n, 1, generator=rng)
            y = torch.where(stroke < number, y, ys[0])
            x = torch.where(stroke < number, x, xs[0])
        ys.append(y)
        xs.append(x)
    size = torch.where(chance(rng, SCRIBBLES, n, 1), uniform(rng, 1.2, 3, n, 1), uniform(rng, 0.5, 0.85, n, 1))
    all_y = torch.cat(ys, 1)
    all_x = torch.cat(xs, 1)
    scale = size / torch.maximum(_half_extent(all_y), _half_extent(all_x)).clamp_(min=1e-3)
    shift_y, shift_x = (0.08 * torch.randn(n, 1, generator=rng) for _ in range(2))
    return _centre(all_y) * scale + shift_y, _centre(all_x) * scale + shift_x, widest * scale


def _half_extent(values: Tensor) -> Tensor:
    return (values.amax(1, keepdim=True) - values.amin(1, keepdim=True)) / 2


def _centre(values: Tensor) -> Tensor:
    return values - (values.amax(1, keepdim=True) + values.amin(1, keepdim=True)) / 2
