"""Open an encoded picture within bounds: its header is checked before any pixel is decoded.

Pillow 13 itself bounds text, profiles and EXIF in headers; this module bounds the rest.
"""

import io
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from mosaic_fl.errors import UsageError

Pixels = npt.NDArray[np.uint8]

# One picture at rest: the bytes of an image file, its path, grey pixels (h, w), or None for a missing picture.
Picture = bytes | Path | Pixels | None

# Formats that Pillow decodes itself. Others may start a program (EPS runs Ghostscript).
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")

MAX_BYTES = 128 * 2**20  # of one image file
MEMORY = 192 * 2**20  # for one picture's pixels and their copies: 25 million pixels of 8 bytes, as 5,000 × 5,000
MAX_EDGE = 65_535  # pixels, as in JPEG
MAX_SLOW = 2**19  # pixels of a format that Pillow decodes in Python, 1 µs each
MAX_JPEG = 120 * 2**20  # pixels of a JPEG that is decoded at half its size or less
MAX_SCANS = 100  # of a progressive JPEG; ten are usual
MAX_VALUES = 2**17  # numbers in one field of a TIFF's directory, as the offsets of its strips

DEEP = {"I", "I;16", "I;16B", "I;16L", "I;16N", "F"}  # grey of 16 or 32 bits
CLEAR = {"LA", "La", "PA", "RGBA", "RGBa"}  # with an alpha channel
_GREY = {"1", "L"}
_DEEP_COLOUR = re.compile(r";16[BLN]$")  # in Pillow's names of the modes of which it reads the upper 8 bits
_SLOW = {"ppm", "ppm_plain", "bmp_rle"}  # Pillow's decoders in Python
_PLAIN = (b"P1", b"P2", b"P3")  # numbers as text
_COMMENT = re.compile(rb"#[^\r\n]*[\r\n]")
_TIFF = {b"II": "<", b"MM": ">"}
_TEXT_TYPES = {1, 2, 6, 7}  # of a TIFF's fields: bytes, which Pillow does not convert


class BrokenPictureError(UsageError):
    """A picture that cannot be read; the next one may be fine."""


@contextmanager
def open_picture(picture: Picture, place: str, *, shrink: bool = False) -> Iterator[Image.Image]:
    """The picture with its header read but not decoded; `place` names it in errors.

    With `shrink` a very large JPEG will be decoded at a half, a quarter or an eighth of its size. Raises
    BrokenPictureError for anything but a picture, for one beyond the bounds above, and for any error of Pillow in the
    `with` block.
    """
    try:
        if isinstance(picture, np.ndarray):
            yield Image.fromarray(picture)
            return
        with _stream(picture) as stream:
            _check_directory(stream)
            with Image.open(stream, formats=FORMATS) as image:
                _check(image, stream, shrink)
                yield image
    except BrokenPictureError as error:
        raise BrokenPictureError(f"{place} {error}") from error
    except UsageError:
        raise
    except UnidentifiedImageError as error:
        raise BrokenPictureError(f"{place} is no image that is known here ({', '.join(FORMATS)})") from error
    except OSError as error:
        if error.filename is not None:
            raise BrokenPictureError(f"{place} cannot be read: {error.strerror}") from error
        raise BrokenPictureError(f"{place} cannot be decoded as an image: {_reason(error)}") from error
    except Image.DecompressionBombError as error:
        raise BrokenPictureError(f"{place} has too many pixels: make it smaller") from error
    except Exception as error:  # Pillow raises nearly anything for a broken file
        raise BrokenPictureError(f"{place} cannot be decoded as an image: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _stream(picture: bytes | Path | None) -> IO[bytes]:
    if picture is None:
        raise BrokenPictureError("has no image: write the images' bytes into the file")
    if isinstance(picture, Path):
        if picture.exists() and not picture.is_file():
            raise BrokenPictureError("is no file")
        size = picture.stat().st_size
    else:
        size = len(picture)
    if size > MAX_BYTES:
        raise BrokenPictureError(f"has {size:,} bytes, at most {MAX_BYTES:,} are read: store it compressed, or smaller")
    stream: IO[bytes] = picture.open("rb") if isinstance(picture, Path) else io.BytesIO(picture)
    if stream.read(2) in _PLAIN:  # Pillow copies the whole text for each comment that it removes
        stream.seek(0)
        with stream:
            stream = io.BytesIO(_COMMENT.sub(b"", stream.read()))
    stream.seek(0)
    return stream


def _check_directory(stream: IO[bytes]) -> None:
    """Raise BrokenPictureError for a TIFF whose first directory lists too many numbers."""
    order, kind, offset = struct.unpack("<2s2sL", stream.read(8).ljust(8, b"\0"))
    sign = _TIFF.get(order)
    if sign and kind in (b"*\0", b"\0*", b"+\0", b"\0+"):
        large = b"+" in kind  # BigTIFF
        stream.seek(8)
        offset = struct.unpack(f"{sign}Q", stream.read(8).ljust(8, b"\0"))[0] if large else _long(offset, sign)
        stream.seek(min(offset, MAX_BYTES))
        entry = struct.Struct(f"{sign}HHQQ" if large else f"{sign}HHLL")
        start = stream.read(8 if large else 2)
        entries = stream.read(min(int.from_bytes(start, "little" if sign == "<" else "big"), 65_535) * entry.size)
        for field in range(0, len(entries) - entry.size + 1, entry.size):
            tag, type_, count, _ = entry.unpack_from(entries, field)
            if count > MAX_VALUES and type_ not in _TEXT_TYPES:
                raise BrokenPictureError(f"lists {count:,} numbers in field {tag}, at most {MAX_VALUES:,} are read")
    stream.seek(0)


def _long(little: int, sign: str) -> int:
    return little if sign == "<" else int.from_bytes(little.to_bytes(4, "little"), "big")


def _check(image: Image.Image, stream: IO[bytes], shrink: bool) -> None:
    """Raise BrokenPictureError where decoding would take too much memory or time, by the header."""
    width, height = image.size
    pixels = width * height
    extent = f"{height}×{width}"
    if max(width, height) > MAX_EDGE:
        raise BrokenPictureError(f"has {extent} pixels, at most {MAX_EDGE} a side")
    codec, _ = _codec(image)
    if codec in _SLOW and pixels > MAX_SLOW:
        raise BrokenPictureError(
            f"has {extent} pixels, at most {MAX_SLOW:,} of this kind of {image.format}: store it as PNG or TIFF"
        )
    cost = _bytes_a_pixel(image)
    if codec == "jpeg":
        copies, scans = _scans(image, stream)
        if scans > MAX_SCANS:
            raise BrokenPictureError(f"has {scans} scans, at most {MAX_SCANS}")
        cost = max(cost, 4 + copies)
        if shrink and not copies and pixels <= MAX_JPEG and pixels * cost > MEMORY:
            pixels = _draft(image, pixels, cost)
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        tile = (int(tags.get(323, 0)), int(tags.get(322, 0)))
        if tile[0] * tile[1] > pixels:
            pixels = tile[0] * tile[1]
            extent = f"tiles of {tile[0]}×{tile[1]}"
    if pixels * cost > MEMORY:
        raise BrokenPictureError(
            f"has {extent} pixels, of its kind at most {MEMORY // cost:,} in all are read: make it smaller"
        )


def _bytes_a_pixel(image: Image.Image) -> int:
    """The bytes of memory for a pixel, with all copies, from the file to 8 bits of grey or RGB."""
    if image.format == "WEBP":
        return 16 if image.mode == "RGB" else 20  # libwebp's two canvases, and Pillow's copy
    if (image.mode in DEEP and "16" not in image.mode) or is_deep_colour(image):
        return 16
    if image.mode in CLEAR or "transparency" in image.info:
        return 12
    return 4 if image.mode in _GREY else 8


def _codec(image: Image.Image) -> tuple[str, str]:
    """The decoder, and its name for the pixels in the file."""
    if not getattr(image, "tile", None):
        return "", ""
    tile = image.tile[0]  # type: ignore[attr-defined]
    name = tile[0]
    args = tile[3]
    if isinstance(args, tuple) and args:
        args = args[0]
    return str(name), args if isinstance(args, str) else ""


def is_deep_colour(image: Image.Image) -> bool:
    """Whether an undecoded picture has more than 8 bits in each of several channels; Pillow gives the upper 8."""
    return image.mode not in DEEP and bool(_DEEP_COLOUR.search(_codec(image)[1]))


def value_scale(image: Image.Image) -> float:
    """The factor to restore an undecoded picture's values: Pillow scales those of a PGM file to 65535."""
    tile = image.tile[0] if getattr(image, "tile", None) else None  # type: ignore[attr-defined]
    return tile[3][-1] / 65_535 if tile and str(tile[0]).startswith("ppm") else 1.0


def _draft(image: Image.Image, pixels: int, cost: int) -> int:
    """Set a JPEG to be decoded at the largest of 1/2, 1/4, 1/8 that fits; returns its pixels at that size."""
    factor = next((k for k in (2, 4) if pixels * cost <= MEMORY * k * k), 8)
    image.draft(None, (max(1, image.width // factor), max(1, image.height // factor)))
    return image.width * image.height


def _scans(image: Image.Image, stream: IO[bytes]) -> tuple[int, int]:
    """(bytes a pixel that libjpeg needs beside the pixels, number of scans) of a JPEG; (0, 1) for a single scan."""
    position = stream.tell()
    stream.seek(0)
    data = stream.read()
    stream.seek(position)
    start = _first_scan(data)
    layers = [(h, v) for _, h, v, _ in getattr(image, "layer", [])]
    if not layers or not ("progressive" in image.info or data[start + 4 : start + 5] != bytes([len(layers)])):
        return 0, 1
    most = max(max(h for h, _ in layers) * max(v for _, v in layers), 1)
    return -(-2 * sum(h * v for h, v in layers) // most), data.count(b"\xff\xda", start)


def _first_scan(data: bytes) -> int:
    """The position of the first scan. A thumbnail, in a segment before it, has scans too: these are passed over."""
    place = 2
    while data[place : place + 1] == b"\xff" and data[place + 1 : place + 2] != b"\xda":
        if data[place + 1 : place + 2] == b"\xff":  # padding
            place += 1
            continue
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return place
