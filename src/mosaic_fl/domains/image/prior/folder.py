"""Photographs from a folder of the user's own public images."""

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

# At most so many images are cropped. On one core each takes 0.7 ms at 2,400 pixels, 0.2 s at 12 megapixels.
MOST_FILES = 500
REDUCED_SIDE = 512  # pixels a side of a reduced photograph; crops have 400 at most


def files(folder: Path) -> list[Path]:
    """The image files in `folder` and below, sorted by path; raises UsageError where there are none."""
    content = walk(folder)
    content.tell()
    images = [file for file in content.files if file.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        raise UsageError(f"{folder} has no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return images


def photographs(folder: Path, order: Sequence[Path], count: int) -> Iterator[Photograph]:
    """`count` ≤ n of these n ≥ 1 images of `folder`, in this order; each is decoded when the iterator reaches it.

    An image that cannot be read is left out with a note, and the next takes its place. Where too few can be read, the
    first ones are repeated. Raises UsageError where none can be read.
    """
    broken: list[UsageError] = []
    remaining = count
    while remaining:
        readable = []
        for file in order:
            if not remaining:
                break
            try:
                image = read(file)
            except UsageError as error:
                broken.append(error)
                continue
            readable.append(file)
            remaining -= 1
            yield image
        if not readable:
            raise UsageError(f"none of the {len(order)} images of {folder} can be read: {broken[0]}")
        order = readable
    if broken:
        note(f"{len(broken)} image{'s' * (len(broken) != 1)} of {folder} left out: {broken[0]}")


def read(file: Path) -> Photograph:
    """One image file, grey or coloured, of any size.

    An image of more than 1024 pixels a side is resized to 512×512. Raises UsageError, naming the file, for one
    that cannot be decoded.
    """
    with open_picture(file, str(file), shrink=True) as image:
        large = max(image.size) > MAX_SIDE
    pixels, _ = read_picture(file, PictureForm(3, REDUCED_SIDE if large else 0, "stretch"), str(file))
    return photograph(torch.from_numpy(np.broadcast_to(pixels, (3, *pixels.shape[1:])).copy()))
