"""Decoded pictures, varied: a decoder draws smooth strokes of one kind, and a student should know other ones, too.

What a varied picture shows is a teacher's word, asked after the change, so no label has to survive it. Which changes
help was measured on held-out training images (docs/notes/encoders.md).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

GAIN = 4.0  # the most by which the logit of a pixel is multiplied
ANGLE = 0.26  # radians, about 15 degrees
SCALE = 0.15
SHEAR = 0.2
SHIFT = 0.08  # of half a side
EDGE = 1e-4  # of 0..1: the least distance of a pixel from black and white, whose logits are not finite


def varied(pictures: Tensor, rng: torch.Generator) -> Tensor:
    """uint8 (n, channels, h, w), all sharpened and the second half warped, each by its own draw; a copy on the CPU."""
    sharp = sharpened(pictures, rng)
    half = len(sharp) // 2
    return torch.cat([sharp[:half], warped(sharp[half:], rng)])


def sharpened(pictures: Tensor, rng: torch.Generator) -> Tensor:
    """The pictures with the logits of their pixels times a gain of 1..`GAIN`, evenly in its logarithm."""
    pixels = (pictures.to(torch.float32) / 255).clamp(EDGE, 1 - EDGE)
    gains = GAIN ** torch.rand(len(pictures), 1, 1, 1, generator=rng)
    return at_rest(torch.sigmoid(gains * torch.logit(pixels)) * 255)


def warped(pictures: Tensor, rng: torch.Generator) -> Tensor:
    """The pictures, each turned, scaled, sheared and shifted a little; what comes in at the edge is black."""

    if not len(pictures):
        return pictures.clone()

    def draw(reach: float) -> Tensor:
        return (torch.rand(len(pictures), generator=rng) * 2 - 1) * reach

    angles = draw(ANGLE)
    scales = 1 + draw(SCALE)
    shears = draw(SHEAR)
    first = torch.stack([angles.cos() / scales, (shears - angles.sin()) / scales, draw(SHIFT)], 1)
    second = torch.stack([angles.sin() / scales, angles.cos() / scales, draw(SHIFT)], 1)
    places = F.affine_grid(torch.stack([first, second], 1), list(pictures.shape), align_corners=False)
    return at_rest(F.grid_sample(pictures.to(torch.float32), places, align_corners=False))


def at_rest(pixels: Tensor) -> Tensor:
    """Numbers 0..255 as uint8."""
    return pixels.round().clamp(0, 255).to(torch.uint8)
