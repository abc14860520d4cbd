"""Encoded pictures -> one uint8 tensor, all of one shape."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from mosaic_fl.domains.image.kind import MAX_SIDE
from mosaic_fl.errors import UsageError

Pixels = npt.NDArray[np.uint8]

# One picture at rest: the bytes of an image file, the path of one, or grey pixels (h, w).
Picture = bytes | Path | Pixels

# Formats that Pillow decodes itself. Others may start a program (EPS runs Ghostscript).
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")

_GREY_MODES = {"1", "L"}
# 16- and 32-bit grey: Pillow would clip them to 255 without a word.
_DEEP_MODES = {"I", "I;16", "I;16B", "I;16L", "I;16N", "F"}


def decode(pictures: Sequence[Picture], source: str, channels: int | None = None, size: int = 0) -> Tensor:
    """All pictures as uint8 (n, channels, h, w), n ≥ 1.

    `channels` is 1 (grey) or 3 (RGB); None: 1 if every picture is grey, else 3. `size` > 0 resizes each to
    `size` × `size` pixels (bilinear, antialiased). Raises UsageError, naming the row (counted from 0) or the
    file, for a picture that cannot be decoded, is deeper than 8 bits, is coloured where `channels` is 1, or
    has another size than the first one.
    """
    if channels is None:
        try:
            return decode(pictures, source, 1, size)
        except _ColourError:  # rare after the first picture, so starting over is cheaper than looking first
            return decode(pictures, source, 3, size)
    if channels not in (1, 3):
        raise UsageError(f"image files have 1 or 3 channels, but {channels} are wanted")
    first = _pixels(pictures[0], channels, size, _place(pictures, 0, source))
    images = np.empty((len(pictures), *first.shape), np.uint8)
    for row, picture in enumerate(pictures):
        pixels = _pixels(picture, channels, size, _place(pictures, row, source))
        if pixels.shape != first.shape:
            raise UsageError(
                f"{_place(pictures, row, source)} has {_extent(pixels)} pixels, the first {_extent(first)}: "
                "resize all with --set data.image_size=N"
            )
        images[row] = pixels
    return torch.from_numpy(images)


class _ColourError(UsageError):
    """A coloured picture where grey ones were asked for."""


def _pixels(picture: Picture, channels: int, size: int, place: str) -> Pixels:
    """One picture, uint8 (channels, h, w)."""
    try:
        with _open(picture) as image:
            if image.mode in _DEEP_MODES:
                raise UsageError(f"{place} has more than 8 bits a pixel (mode {image.mode}): convert it to 8 bits")
            if channels == 1 and image.mode not in _GREY_MODES:
                raise _ColourError(f"{place} is coloured (mode {image.mode}), where grey images are wanted")
            if not size and max(image.size) > MAX_SIDE:
                raise UsageError(
                    f"{place} has {image.height}×{image.width} pixels, at most {MAX_SIDE} a side: "
                    "resize with --set data.image_size=N"
                )
            upright = ImageOps.exif_transpose(image).convert("L" if channels == 1 else "RGB")
            if size:
                upright = upright.resize((size, size), Image.Resampling.BILINEAR)
            pixels = np.asarray(upright)
            return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
    except UsageError:
        raise
    except UnidentifiedImageError as error:
        raise UsageError(f"{place} is no image that is known here ({', '.join(FORMATS)})") from error
    except Exception as error:  # Pillow raises nearly anything for a broken file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"{place} cannot be decoded as an image: {reason}") from error


def _open(picture: Picture) -> Image.Image:
    if isinstance(picture, bytes):
        return Image.open(io.BytesIO(picture), formats=FORMATS)
    if isinstance(picture, Path):
        return Image.open(picture, formats=FORMATS)
    return Image.fromarray(picture)


def _place(pictures: Sequence[Picture], row: int, source: str) -> str:
    """Where a picture lies, for an error."""
    picture = pictures[row]
    return str(picture) if isinstance(picture, Path) else f"row {row} of {source}"


def _extent(pixels: Pixels) -> str:
    return f"{pixels.shape[1]}×{pixels.shape[2]}"
