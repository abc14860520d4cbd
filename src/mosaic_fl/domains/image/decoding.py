"""Encoded pictures -> one uint8 tensor, all of one shape, and one line for each thing that a user should know."""

import warnings
from collections import Counter
from collections.abc import Sequence
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
NAMED = 5  # pictures that a note names
_FITTED = {
    "pad": "padded to {0}×{0} in the colour of their edges (--fit crop, --fit stretch do otherwise)",
    "crop": "cropped to their middle, {0}×{0}",
    "stretch": "stretched to {0}×{0}",
}


@dataclass(frozen=True)
class Decoded:
    """`images` uint8 (m, channels, h, w) of n ≥ m ≥ 1 pictures, and which row each of them had: int64 (m,)."""

    images: Tensor
    rows: Tensor


def decode(
    pictures: Sequence[Picture], source: str, form: PictureForm = AS_THEY_ARE, *, skip_broken: bool = False
) -> Decoded:
    """All pictures, n ≥ 1, as `form` says; of `source`, which names them in errors and notes.

    Notes tell how many were fitted, laid on a ground, made grey, left out. Raises UsageError, naming the row (counted
    from 0) or the file: a picture that cannot be read, or with `skip_broken` where none can; one that `form` has no
    place for (see `read_picture`); one of another size than the first.
    """
    broken: list[str] = []
    rows: list[int] = []
    remarks: Counter[Remark] = Counter()
    images = np.empty((0, 0, 0, 0), np.uint8)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # on metadata, and on sizes that are bounded here
        for row, picture in enumerate(pictures):
            place = _place(picture, row, source)
            try:
                pixels, told = read_picture(picture, form, place)
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
                    f"{place} has {_extent(pixels)} pixels, the first {_extent(images[0])}: "
                    "resize all with --image-size N (data.image_size)"
                )
            if len(pixels) > images.shape[1]:  # the first that is coloured
                images = np.repeat(images, len(pixels), axis=1)
            images[len(rows)] = pixels
            rows.append(row)
            remarks.update(told)
    if not rows:
        raise UsageError(f"none of the {len(pictures)} images of {source} can be read: {broken[0]}")
    tell_remarks(remarks, images.shape[1], len(pictures), source, form)
    _tell_broken(broken, len(pictures), source)
    return Decoded(torch.from_numpy(images[: len(rows)]), torch.tensor(rows))


def tell_remarks(remarks: "Counter[Remark]", channels: int, total: int, source: str, form: PictureForm) -> None:
    """Note, once for each kind, how many of `total` pictures became something else, `channels` of them in the end."""
    if channels == 3 or form.channels == 1:
        remarks.pop("stored in colour", None)  # nothing was lost, and nothing chosen
    if remarks["grey"] < total:
        remarks.pop("grey", None)  # a set in colour may have some
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
        more = f"; and {len(broken) - NAMED} more" if len(broken) > NAMED else ""
        note(f"{len(broken)} of {total} images of {source} are left out: {'; '.join(broken[:NAMED])}{more}")


def _place(picture: Picture, row: int, source: str) -> str:
    """Where a picture lies, for an error."""
    return str(picture) if isinstance(picture, Path) else f"row {row} of {source}"


def _extent(pixels: Pixels) -> str:
    return f"{pixels.shape[1]}×{pixels.shape[2]}"
