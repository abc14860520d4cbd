"""Colour pictures -> pictures with other channels, varied in colour, contrast and style."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mosaic_fl.domains.image.prior.draws import chance, coordinates, log_uniform, uniform

# Grey task data are often near-binary (digits, letters) or objects on black. So some grey crops of photographs become
# shapes or line drawings: these are their shares. The rest stay half-tone.
SHAPES = 0.4
LINES = 0.25
FRAMED = 0.4  # share of grey pictures with a blank margin, as around a written digit
INVERTED = 0.3  # share of grey pictures with bright ground: most task data are bright on black


def finish(pictures: Tensor, shape: tuple[int, int, int], rng: torch.Generator, *, drawings: bool = False) -> Tensor:
    """Pictures (n, 3, h, w) in 0..1 -> uint8 (n, *shape).

    Three channels are permuted, one is a random mix of the three, any other number are as many random mixes; then
    contrast, brightness and gamma vary and some are inverted. With `drawings` the pictures are strokes, which get no
    grey styles.
    """
    channels = shape[0]
    channel_mixes = torch.einsum("nchw,ndc->ndhw", pictures, _mixes(len(pictures), channels, rng))
    if channels == 1 and drawings:
        images = channel_mixes
    elif channels == 1:
        images = _grey_styles(_contrast(channel_mixes, rng), rng)
    else:
        images = _contrast(_fade(channel_mixes, rng), rng)
        images = torch.where(chance(rng, 0.2, len(images), 1, 1, 1), 1 - images, images)
    return images.mul(255).round_().clamp_(0, 255).to(torch.uint8)


def _mixes(n: int, channels: int, rng: torch.Generator) -> Tensor:
    """Weights (n, channels, 3) of the three colours in each channel; they sum to one."""
    if channels == 3:
        order = torch.rand(n, 3, generator=rng).argsort(1)
        return F.one_hot(order, 3).float()
    weights = -torch.rand(n, channels, 3, generator=rng).clamp_(min=1e-6).log()  # Dirichlet(1)
    return weights / weights.sum(2, keepdim=True)


def _fade(pictures: Tensor, rng: torch.Generator) -> Tensor:
    """A third of the pictures lose some or all of their colour: channel permutations make colours too vivid."""
    n = len(pictures)
    keep = torch.where(chance(rng, 0.35, n, 1, 1, 1), uniform(rng, 0, 1, n, 1, 1, 1), 1.0)
    return torch.lerp(pictures.mean(1, keepdim=True), pictures, keep)


def _contrast(pictures: Tensor, rng: torch.Generator) -> Tensor:
    """Each picture with a random standard deviation, brightness and gamma; clamped to 0..1.

    A small crop is often nearly flat; more contrast makes it visible to an expert.
    """
    n = len(pictures)
    mean = pictures.mean((1, 2, 3), keepdim=True)
    std = pictures.std((1, 2, 3), keepdim=True, correction=0)
    gain = (log_uniform(rng, 0.08, 0.32, n, 1, 1, 1) / std.clamp(min=1e-3)).clamp_(0.5, 5)
    level = 0.5 + 0.7 * (mean - 0.5) + uniform(rng, -0.2, 0.2, n, 1, 1, 1)
    levels = ((pictures - mean) * gain + level).clamp_(0, 1)
    return levels ** log_uniform(rng, 0.6, 1.7, n, 1, 1, 1)


def _grey_styles(pictures: Tensor, rng: torch.Generator) -> Tensor:
    """Half-tones, shapes and line drawings of grey pictures (n, 1, h, w), some within a margin."""
    n, _, height, width = pictures.shape
    style = torch.rand(n, 1, 1, 1, generator=rng)
    lines = _threshold(_slopes(pictures), 0.7, 0.92, rng)
    shapes = _threshold(pictures, 0.45, 0.92, rng)
    pictures = torch.where(style < SHAPES, shapes, torch.where(style < SHAPES + LINES, lines, pictures))
    margin = chance(rng, FRAMED, n, 1, 1, 1)
    pictures = torch.where(margin, pictures * _frame(n, height, width, rng), pictures)
    return torch.where(chance(rng, INVERTED, n, 1, 1, 1), 1 - pictures, pictures)


def _threshold(pictures: Tensor, least: float, most: float, rng: torch.Generator) -> Tensor:
    """White where a picture is above a random quantile of itself in least..most, with a soft edge."""
    n = len(pictures)
    levels = pictures.flatten(1).sort(1).values
    at = (uniform(rng, least, most, n, 1) * (levels.shape[1] - 1)).long()
    threshold = levels.gather(1, at)[:, :, None, None]
    spread = pictures.std((1, 2, 3), keepdim=True, correction=0).clamp(min=1e-3)
    return torch.sigmoid((pictures - threshold) / (spread * log_uniform(rng, 0.08, 0.5, n, 1, 1, 1)))


def _slopes(pictures: Tensor) -> Tensor:
    """The magnitude of the gradient (Sobel): lines of about two pixels where brightness changes."""
    side = torch.tensor([[1.0, 2.0, 1.0], [0.0, 0.0, 0.0], [-1.0, -2.0, -1.0]]) / 8
    borders = F.pad(pictures, (1, 1, 1, 1), mode="replicate")
    return F.conv2d(borders, torch.stack([side, side.T])[:, None]).square().sum(1, keepdim=True).sqrt()


def _frame(n: int, height: int, width: int, rng: torch.Generator) -> Tensor:
    """1 in an ellipse or rounded box around the middle, 0 at the border, soft between: (n, 1, h, w)."""
    y, x = coordinates(height, width)
    reach_y, reach_x = (uniform(rng, 0.4, 1.0, n, 1, 1, 1) for _ in range(2))
    power = log_uniform(rng, 2, 12, n, 1, 1, 1)  # 2: an ellipse; 12: nearly a box
    distance = (y.abs() / reach_y) ** power + (x.abs() / reach_x) ** power
    return torch.sigmoid((1 - distance ** (1 / power)) * log_uniform(rng, 8, 40, n, 1, 1, 1))
