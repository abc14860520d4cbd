"""Encoded pictures -> one uint8 tensor of images of one shape, with notes on pictures that were changed or left out."""

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mosaic_fl.domains.image.opening import BrokenPictureError, Picture, Pixels
from mosaic_fl.domains.image.picture import PictureForm, Remark, read_picture
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import note

AS_THEY_ARE = PictureForm()
MOST_NAMES = 5  # pictures that a note names
_FITTED = {
    "pad": "padded to {0}×{0} in the colour of their edges (--fit crop, --fit stretch do otherwise)",
    "crop": "cropped to their middle, {0}×{0}",
    "stretch": "stretched to {0}×{0}",
}


@dataclass(frozen=True)
class Decoded:
    """`images` uint8 (m, channels, h, w) of n ≥ m ≥ 1 pictures, and the row of each: int64 (m,)."""

    images: Tensor
    rows: Tensor


def decode(
    pictures: Sequence[Picture],
    source: str,
    form: PictureForm = AS_THEY_ARE,
    *,
    skip_broken: bool = False,
    place: Callable[[int], str] | None = None,
) -> Decoded:
    """All n ≥ 1 pictures in the form `form`; `source` names them in errors and notes.

    `place` gives the words for a picture that has no file of its own, by its number.

    Notes say how many were fitted, laid on a ground, made grey, or left out. With `skip_broken` pictures that cannot be
    read are left out. Raises UsageError, with the row (counted from 0) or the file, for a picture that cannot be read
    (with `skip_broken`, where none can), that does not fit `form` (see `read_picture`), or that has another size than
    the first.
    """
    broken: list[str] = []
    rows: list[int] = []
    remarks: Counter[Remark] = Counter()
    images = np.empty((0, 0, 0, 0), np.uint8)
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", module=r"PIL\."
        )  # Pillow warns of metadata, and of sizes that are bounded here
        for row, picture in enumerate(pictures):
            words = _place(picture, row, source, place)
            try:
                pixels, changes = read_picture(picture, form, words)
            except BrokenPictureError as error:
                if not skip_broken:
                    if len(pictures) == 1:
                        raise
                    raise UsageError(f"{error} (--skip-broken reads the others)") from error
                broken.append(str(error))
                continue
            if not rows:
                images = np.empty((len(pictures), form.channels or len(pixels), *pixels.shape[1:]), np.uint8)
            if pixels.shape[1:] != images.shape[2:]:
                raise UsageError(
                    f"{words} has {_extent(pixels)} pixels, the first {_extent(images[0])}: "
                    "resize all with --image-size N (data.image_size)"
                )
            if len(pixels) > images.shape[1]:  # this is the first coloured one
                images = np.repeat(images, len(pixels), axis=1)
            images[len(rows)] = pixels
            rows.append(row)
            remarks.update(changes)
    if not rows:
        raise UsageError(f"none of the {len(pictures)} images of {source} can be read: {broken[0]}")
    tell_remarks(remarks, images.shape[1], len(pictures), source, form)
    _tell_broken(broken, len(pictures), source)
    return Decoded(torch.from_numpy(images[: len(rows)]), torch.tensor(rows))


def tell_remarks(remarks: "Counter[Remark]", channels: int, total: int, source: str, form: PictureForm) -> None:
    """Note for each remark how many of `total` pictures have it; the images have `channels` channels."""
    if channels == 3 or form.channels == 1:
        remarks.pop("stored in colour", None)  # the pictures lost nothing
    if remarks["grey"] < total:
        remarks.pop("grey", None)  # a set of coloured pictures may have some grey ones
    texts: dict[Remark, str] = {
        "fitted": f"no squares: {_FITTED[form.fit].format(form.size)}",
        "on white": "partly transparent: laid on white",
        "on black": "partly transparent and too light to be seen on white: laid on black",
        "made grey": "coloured: made grey",
        "grey": "grey: each of the 3 channels is the same",
        "stored in colour": "stored in colour but grey, as all others: read as grey, 1 channel "
        "(--channels colour keeps 3)",
        "first of several": "of several frames or pages: only the first of each is read",
    }
    for remark, count in sorted(remarks.items()):
        note(f"{count} of {total} images of {source} are {texts[remark]}")


def _tell_broken(broken: list[str], total: int, source: str) -> None:
    if broken:
        more = f"; and {len(broken) - MOST_NAMES} more" if len(broken) > MOST_NAMES else ""
        note(f"{len(broken)} of {total} images of {source} are left out: {'; '.join(broken[:MOST_NAMES])}{more}")


def _place(picture: Picture, row: int, source: str, place: Callable[[int], str] | None) -> str:
    """The file or row of a picture, for an error."""
    if isinstance(picture, Path):
        return str(picture)
    return f"row {row} of {source}" if place is None else place(row)


def _extent(pixels: Pixels) -> str:
    return f"{pixels.shape[1]}×{pixels.shape[2]}"
