"""Fields of 1/f noise: clouds, marble, grain and blotches (Baradad et al. 2021, "spectrum")."""

import math

import torch
from torch import Tensor

from mosaic_fl.domains.image.prior.draws import chance, colours, log_uniform, uniform


def fields(n: int, count: int, height: int, width: int, rng: torch.Generator) -> Tensor:
    """`count` fields a picture (n, count, h, w) of mean 0 and standard deviation 1.

    Amplitudes fall with f^−β, β in 0.7..2.5 (natural images: about 1), where f is stretched in a random direction.
    """
    fy = torch.fft.fftfreq(height)[None, :, None]
    fx = torch.fft.rfftfreq(width)[None, None, :]
    angle = uniform(rng, 0, math.pi, n, 1, 1)
    stretch = torch.where(chance(rng, 0.5, n, 1, 1), log_uniform(rng, 1, 8, n, 1, 1), 1.0)
    along = fy * angle.cos() + fx * angle.sin()
    across = fx * angle.cos() - fy * angle.sin()
    frequency = (along.square() + (stretch * across).square()).sqrt_().clamp_(min=1 / max(height, width))
    amplitude = frequency ** -uniform(rng, 0.7, 2.5, n, 1, 1)
    spectrum = torch.fft.rfft2(torch.randn(n, count, height, width, generator=rng)) * amplitude[:, None]
    spectrum[..., 0, 0] = 0
    field: Tensor = torch.fft.irfft2(spectrum, s=(height, width))
    return field.div_(field.std((2, 3), keepdim=True, correction=0).clamp_(min=1e-6))


def noise(n: int, height: int, width: int, rng: torch.Generator) -> Tensor:
    """n pictures (n, 3, h, w) around 0..1 (not clamped): coloured clouds, marble and two-coloured blotches."""
    field = fields(n, 3, height, width, rng)
    loud = uniform(rng, 0.08, 0.3, n, 1, 1, 1)
    chroma = uniform(rng, 0, 0.2, n, 1, 1, 1)
    clouds = colours(rng, n) + loud * field[:, :1] + chroma * (field - field.mean(1, keepdim=True))
    waves = torch.sin(field[:, :1] * log_uniform(rng, 1, 8, n, 1, 1, 1))
    edges = torch.sigmoid(field[:, :1] * log_uniform(rng, 3, 40, n, 1, 1, 1))
    style = torch.rand(n, 1, 1, 1, generator=rng)
    mask = torch.where(style < 0.2, 0.5 + 0.5 * waves, edges)
    return torch.where(style < 0.5, torch.lerp(colours(rng, n), colours(rng, n), mask), clouds)
