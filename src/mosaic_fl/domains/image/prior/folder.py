"""Photographs of a folder of the user's own public images."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from mosaic_fl.domains.image.bounds import MAX_SIDE
from mosaic_fl.domains.image.opening import open_picture
from mosaic_fl.domains.image.picture import PictureForm, read_picture
from mosaic_fl.domains.image.prior.photographs import Photograph, photograph
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import note
from mosaic_fl.storage.pictures import IMAGE_SUFFIXES
from mosaic_fl.storage.walk import walk

# Most images that a transfer set is cropped from. On one core: 0.7 ms each at 2,400 pixels, 0.2 s at 12 megapixels.
MOST_FILES = 500
SQUEEZED = 512  # side of a photograph that is too large; crops are of 400 pixels at most


def files(folder: Path) -> list[Path]:
    """The image files in `folder` and below, sorted by path; raises UsageError where there are none."""
    content = walk(folder)
    content.tell()
    images = [file for file in content.files if file.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        raise UsageError(f"{folder} has no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return images


def photographs(folder: Path, order: Sequence[Path], count: int) -> Iterator[Photograph]:
    """`count` ≤ n of these n ≥ 1 images of `folder`, in this order, each decoded when it is asked for.

    One that cannot be read is left out, which is told, and the next takes its place; where too few are left, the first
    come again. Raises UsageError where none can be read.
    """
    broken: list[UsageError] = []
    left = count
    while left:
        readable = []
        for file in order:
            if not left:
                break
            try:
                image = read(file)
            except UsageError as error:
                broken.append(error)
                continue
            readable.append(file)
            left -= 1
            yield image
        if not readable:
            raise UsageError(f"none of the {len(order)} images of {folder} can be read: {broken[0]}")
        order = readable
    if broken:
        note(f"{len(broken)} image{'s' * (len(broken) != 1)} of {folder} left out: {broken[0]}")


def read(file: Path) -> Photograph:
    """One image file, grey or coloured, of any size.

    One larger than 1024 pixels a side is squeezed to 512×512. Raises UsageError, naming the file, for one that
    cannot be decoded.
    """
    with open_picture(file, str(file), shrink=True) as image:
        large = max(image.size) > MAX_SIDE
    pixels, _ = read_picture(file, PictureForm(3, SQUEEZED if large else 0, "stretch"), str(file))
    return photograph(torch.from_numpy(np.broadcast_to(pixels, (3, *pixels.shape[1:])).copy()))
