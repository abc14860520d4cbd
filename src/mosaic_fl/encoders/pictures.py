"""Pixels at rest as encoders of pictures take them: floats in 0..1, of a fixed size, grey or in colour."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from mosaic_fl.domains.kind import Kind
from mosaic_fl.errors import UsageError

CHANNELS = (1, 3)


def require_pictures(name: str, kind: Kind) -> None:
    """Raise UsageError unless images of this kind are grey or in colour."""
    if kind.shape[0] not in CHANNELS:
        raise UsageError(f"encoder {name} takes images of 1 or 3 channels, and these are {kind.summary}")


def resized(values: Tensor, side: int) -> Tensor:
    """uint8 (n, channels, h, w) -> float32 (n, channels, side, side) in 0..1, smoothed where it becomes smaller."""
    return fitted(values.to(torch.float32).div_(255), side)


def fitted(pixels: Tensor, side: int) -> Tensor:
    """Pictures float32 in 0..1 as `resized` gives them."""
    height, width = int(pixels.shape[2]), int(pixels.shape[3])
    if (height, width) == (side, side):
        return pixels
    if is_recorded():  # formats outside torch have no such operator; it is a product with two matrices
        return weights_of(height, side) @ pixels @ weights_of(width, side).T
    return _interpolated(pixels, side, side)


def weights_of(length: int, side: int) -> Tensor:
    """The weights float32 (side, length) of the pixels of a line in those of the line fitted to `side`."""
    return _interpolated(torch.eye(length)[None, None], side, length)[0, 0]


def _interpolated(pixels: Tensor, height: int, width: int) -> Tensor:
    return F.interpolate(pixels, size=(height, width), mode="bilinear", antialias=True, align_corners=False)


def is_recorded() -> bool:
    """Whether the calls are recorded, for an export."""
    exporting = getattr(torch.compiler, "is_exporting", None)  # torch 2.7 and later
    tracing: Callable[[], bool] = torch.jit.is_tracing  # type: ignore[attr-defined]
    return tracing() or torch.compiler.is_compiling() or (exporting is not None and bool(exporting()))


def grey(pixels: Tensor) -> Tensor:
    """Pictures of one channel: the mean of the channels."""
    return pixels.mean(1, keepdim=True)


def colours(pixels: Tensor) -> Tensor:
    """Pictures of three channels: grey ones have their channel three times."""
    return pixels.expand(-1, 3, -1, -1)


def number_after(argument: str, name: str, default: int, bounds: tuple[int, int]) -> int:
    """The number in `NAME:NUMBER`, `default` where it has none; raises UsageError for one out of bounds."""
    if not argument:
        return default
    least, most = bounds
    plain = argument.isascii() and argument.isdecimal() and len(argument) < 10 and argument[0] != "0"
    if not plain or not least <= int(argument) <= most:
        raise UsageError(f"encoder {name}:{argument[:40]}: after the colon is a number, {least}..{most}")
    return int(argument)
