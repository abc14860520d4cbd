"""Augmentation of training batches: shifted and mirrored images of the same objects.

Random shifts and mirror images are the standard augmentation of CIFAR-10 (He et al. 2016, section 4.2). They hold for
photographs of objects. A mirrored digit is another sign, so by default grey images are not augmented.
"""

import torch
from torch import Tensor

REACH = 1 / 8  # a shift is at most this part of a side: 4 pixels of 32, as usual on CIFAR-10


def augment(images: Tensor, kind: str, rng: torch.Generator) -> Tensor:
    """An augmented copy of uint8 images (n, channels, h, w), each with its own change; "none" changes nothing.

    "flip" mirrors half of the images, left to right; "shift" moves each by up to an eighth of each side and fills the
    edge with its reflection; "shift_flip" does both. `rng` is a CPU generator, the images may be anywhere.
    """
    return moved(images, *draw_moves(len(images), images.shape[2], images.shape[3], kind, rng))


def draw_moves(n: int, height: int, width: int, kind: str, rng: torch.Generator) -> tuple[Tensor, ...]:
    """What `augment` draws for `n` images: source rows int64 (n, height) and columns (n, width); for "none" nothing."""
    if kind == "none":
        return ()
    reach = REACH if kind in ("shift", "shift_flip") else 0
    rows, columns = (_shift(n, side, int(reach * side), rng) for side in (height, width))
    if kind in ("flip", "shift_flip"):
        mirror = torch.rand(n, 1, generator=rng) < 0.5
        columns = torch.where(mirror, columns.flip(1), columns)
    return rows, columns


def moved(images: Tensor, *moves: Tensor) -> Tensor:
    """The images by the draws of `draw_moves`."""
    if not moves:
        return images
    n, channels, _, _ = images.shape
    rows, columns = (move.to(images.device) for move in moves)
    sample = torch.arange(n, device=images.device)[:, None, None, None]
    channel = torch.arange(channels, device=images.device)[None, :, None, None]
    return images[sample, channel, rows[:, None, :, None], columns[:, None, None, :]]


def _shift(n: int, side: int, most: int, rng: torch.Generator) -> Tensor:
    """The source pixel of each position, int64 (n, side), for a shift by at most `most` with reflection."""
    at = torch.arange(side)[None] + torch.randint(-most, most + 1, (n, 1), generator=rng)
    return (side - 1) - ((side - 1) - at.abs()).abs()
