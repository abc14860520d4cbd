"""One encoded picture -> uint8 pixels: upright, 8 bits deep, opaque, grey or RGB, of the size of a `PictureForm`."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from mosaic_fl.domains.image.bounds import MAX_SIDE, Fit
from mosaic_fl.domains.image.opening import (
    CLEAR,
    DEEP,
    BrokenPictureError,
    Picture,
    Pixels,
    is_deep_colour,
    open_picture,
    value_scale,
)
from mosaic_fl.errors import UsageError

CHANNELS = {"auto": None, "grey": 1, "colour": 3}
WHITE = 255
BLACK = 0
VISIBLE = 64  # levels by which a transparent picture must differ from white to be laid on white
FULL_RANGE = (0.0, 65_535.0)
BLOCK = 2**20  # pixels converted to 8 bits at once
MAX_RESIZE = 24 * 2**20  # pixels between the two passes of a resize

Remark = Literal["fitted", "on white", "on black", "made grey", "grey", "stored in colour", "first of several"]


@dataclass(frozen=True)
class PictureForm:
    """The form of every picture after reading.

    `channels` is 1 (grey), 3 (RGB) or None: grey if every picture is grey. Where `channels` is 1, `to_grey` makes
    coloured pictures grey; without it they are refused. `size` > 0 resizes each to `size` × `size` pixels, by `fit`
    where it is no square. `pixel_range` holds the values (black, white) of pictures deeper than 8 bits; without it they
    are refused. Raises UsageError for values out of bounds.
    """

    channels: int | None = None
    size: int = 0
    fit: Fit = "pad"
    pixel_range: tuple[float, ...] = ()
    to_grey: bool = False

    def __post_init__(self) -> None:
        if self.channels not in (None, 1, 3):
            raise UsageError(f"image files have 1 or 3 channels, but {self.channels} are wanted")
        if self.pixel_range and not (len(self.pixel_range) == 2 and self.pixel_range[0] < self.pixel_range[1]):
            text = ",".join(f"{value:g}" for value in self.pixel_range)
            raise UsageError(f"pixel_range is {text}: give two numbers, black and a greater white, as 0,4095")


def read_picture(picture: Picture, form: PictureForm, place: str) -> tuple[Pixels, set[Remark]]:
    """The pixels, uint8 (1, h, w) of a grey or (3, h, w) of a coloured picture, and remarks on it.

    `place` names it in errors. Raises BrokenPictureError for one that cannot be read; UsageError for one that does not
    fit `form`: coloured, deeper than 8 bits, with a value out of range, or larger than 1024 pixels a side.
    """
    remarks: set[Remark] = set()
    with open_picture(picture, place, shrink=form.size > 0) as image:
        if not form.size and max(image.size) > MAX_SIDE:
            raise UsageError(
                f"{place} has {image.height}×{image.width} pixels, at most {MAX_SIDE} a side: "
                "resize with --image-size N (data.image_size)"
            )
        if _has_more(image):
            remarks.add("first of several")
        upright = _shallow(image, form, place)
        if not isinstance(picture, np.ndarray):
            ImageOps.exif_transpose(upright, in_place=True)
        opaque = _opaque(upright, remarks)
        pixels = np.asarray(_fit(opaque, form, remarks))
        mode = image.mode
    if pixels.ndim == 2:
        if form.channels == 3:
            remarks.add("grey")
        return pixels[None], remarks
    return _channels(pixels, form, f"{place} is coloured (mode {mode})", remarks), remarks


def plain_pixels(image: Image.Image, place: str) -> tuple[Pixels, set[Remark]]:
    """The pixels of an opened picture, uint8 (h, w) grey or (h, w, 3) RGB, and remarks on it.

    It must have at most 8 bits a level. Raises BrokenPictureError, with `place`, where it cannot be decoded.
    """
    remarks: set[Remark] = set()
    try:
        return np.asarray(_opaque(image, remarks)), remarks
    except Exception as error:  # Pillow raises nearly anything for a broken file
        raise BrokenPictureError(f"{place} cannot be decoded as an image: {error}") from error


def _channels(pixels: Pixels, form: PictureForm, complaint: str, remarks: set[Remark]) -> Pixels:
    """(h, w, 3) -> (1, h, w) where it is grey or `form` makes it grey, else (3, h, w)."""
    if form.channels == 3:
        return pixels.transpose(2, 0, 1)
    if (pixels == pixels[:, :, :1]).all():
        remarks.add("stored in colour")
        return pixels[None, :, :, 0]
    if form.channels is None:
        return pixels.transpose(2, 0, 1)
    if not form.to_grey:
        raise UsageError(f"{complaint}, where grey images are wanted: --channels grey makes it grey")
    remarks.add("made grey")
    return np.asarray(Image.fromarray(pixels).convert("L"))[None]


def _has_more(image: Image.Image) -> bool:
    """Whether there are frames or pages after the first."""
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # a later frame is broken, and not needed
        return True


def _shallow(image: Image.Image, form: PictureForm, place: str) -> Image.Image:
    """The picture with 8 bits a channel."""
    deep = image.mode in DEEP
    if not deep and not is_deep_colour(image):
        return image
    if not form.pixel_range:
        raise UsageError(
            f"{place} has more than 8 bits a pixel: say which values are black and white, as --pixel-range 0,65535"
        )
    if "transparency" in image.info:
        raise UsageError(f"{place} has 16 bits and one transparent value: convert it to 8 bits")
    if not deep:
        if form.pixel_range != FULL_RANGE:
            raise UsageError(f"{place} has 16 bits in each of several channels: only --pixel-range 0,65535 is read")
        return image
    scale = value_scale(image)
    ImageOps.exif_transpose(image, in_place=True)
    return Image.fromarray(_to_8_bits(np.asarray(image), scale, form.pixel_range, place))


def _to_8_bits(values: npt.NDArray[np.generic], scale: float, pixel_range: tuple[float, ...], place: str) -> Pixels:
    """(h, w) of any numbers, times `scale` -> 0..255; with black and white of `pixel_range`."""
    black, white = pixel_range
    pixels = np.empty(values.shape, np.uint8)
    rows = max(1, BLOCK // values.shape[1])
    for top in range(0, len(values), rows):
        block = values[top : top + rows].astype(np.float64)
        if scale != 1:
            block = np.rint(block * scale)
        wrong = ~((block >= black) & (block <= white))  # NaN is wrong, too
        if wrong.any():
            value = block[wrong][0]
            raise UsageError(f"{place} has the pixel value {value:g}, outside --pixel-range {black:g},{white:g}")
        pixels[top : top + rows] = np.rint((block - black) * (255 / (white - black)))
    return pixels


def _opaque(image: Image.Image, remarks: set[Remark]) -> Image.Image:
    """The picture as grey (L) or RGB; a transparent one is laid on white, or on black if it is invisible on white."""
    if image.mode not in CLEAR and "transparency" not in image.info:
        return (
            image.convert("L") if image.mode == "1" else image if image.mode in ("L", "RGB") else image.convert("RGB")
        )
    grey = image.mode == "LA" or (image.mode in ("1", "L") and "transparency" in image.info)
    if image.mode not in ("LA", "RGBA"):
        image = image.convert("LA" if grey else "RGBA")
    mode = "L" if grey else "RGB"
    alpha = image.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return image.convert(mode)
    on_white = _lay_on(WHITE, image, alpha, mode)
    contrast = 255 - _extremes(on_white)[0]
    if contrast < VISIBLE:
        on_black = _lay_on(BLACK, image, alpha, mode)
        if _extremes(on_black)[1] > contrast:
            remarks.add("on black")
            return on_black
    remarks.add("on white")
    return on_white


def _lay_on(level: int, image: Image.Image, alpha: Image.Image, mode: str) -> Image.Image:
    """The picture on a ground of one grey level."""
    ground = Image.new(mode, image.size, level if mode == "L" else (level, level, level))
    ground.paste(image.getchannel("L") if mode == "L" else image, (0, 0), alpha)
    return ground


def _extremes(image: Image.Image) -> tuple[int, int]:
    """The least and the greatest level in any channel."""
    levels = np.ravel(image.getextrema())
    return int(levels.min()), int(levels.max())


def _fit(image: Image.Image, form: PictureForm, remarks: set[Remark]) -> Image.Image:
    """`size` × `size` pixels: padded with bars in the colour of the edges, cropped to the middle, or stretched."""
    size = form.size
    if not size:
        return image
    width, height = image.size
    if width != height:
        remarks.add("fitted")
    if width == height or form.fit == "stretch":
        if size * height > MAX_RESIZE:
            raise BrokenPictureError(f"has {height}×{width} pixels, too high to be stretched to {size}×{size}")
        return image.resize((size, size), Image.Resampling.BILINEAR)
    if form.fit == "crop":
        side = min(width, height)
        x = (width - side) // 2
        y = (height - side) // 2
        return image.resize((size, size), Image.Resampling.BILINEAR, box=(x, y, x + side, y + side))
    longest = max(width, height)
    inside = (max(1, round(width * size / longest)), max(1, round(height * size / longest)))
    pixels = np.asarray(image.resize(inside, Image.Resampling.BILINEAR))
    edges = pixels[[0, -1]] if width > height else pixels[:, [0, -1]]  # next to the bars
    square = np.empty((size, size, *pixels.shape[2:]), np.uint8)
    square[:] = np.median(edges, axis=(0, 1)).astype(np.uint8)
    x = (size - inside[0]) // 2
    y = (size - inside[1]) // 2
    square[y : y + inside[1], x : x + inside[0]] = pixels
    return Image.fromarray(square)
