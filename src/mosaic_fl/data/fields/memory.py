"""Rows of several fields that a user has in memory: columns of pictures beside columns of values."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from mosaic_fl.data.csv_list import resolve
from mosaic_fl.data.fields.reading import UNNAMED, require_files
from mosaic_fl.data.fields.rows import FieldRows
from mosaic_fl.data.names import listing
from mosaic_fl.data.table.frame import Cells, Frame
from mosaic_fl.data.table.reading import columns_of, frame_of, is_nothing
from mosaic_fl.domains.image.opening import Picture
from mosaic_fl.domains.image.picture import plain_pixels
from mosaic_fl.errors import UsageError, excerpt


def rows_of(data: Any, images: Sequence[str], folder: Path, source: str = "the table") -> FieldRows:
    """The rows of a frame of pandas or polars, or of a dict of columns, with those columns of `images` that it has.

    A cell of them is the path of a file (in `folder`), its bytes, a picture of PIL, uint8 (h, w) or (h, w, 3), or
    missing. Raises UsageError for anything else, and for a file that does not exist.
    """
    columns = columns_of(data, source)
    if columns is None:
        raise UsageError(f"{source} with columns of images is a frame of pandas or polars, or a dict of columns")
    titles = dict[str, Cells]()
    pictures = dict[str, list[Picture]]()
    for name in images:
        if name in columns:
            titles[name], pictures[name] = _cells(list(columns[name]), name, folder)
    plain = {name: column for name, column in columns.items() if name not in pictures}
    frame = frame_of(plain, source=source) if plain else Frame(source, titles)
    rows = FieldRows(Frame(source, {**frame.columns, **titles}), pictures)
    require_files(rows)
    return rows


def require_images(rows: FieldRows, images: Sequence[str]) -> None:
    """Raise UsageError where the rows lack one of these columns of pictures."""
    if lost := [name for name in images if name not in rows.pictures]:
        raise UsageError(f"images names {lost[0]!r}, and the columns are {listing(list(rows.frame.columns), 30)}")


def _cells(values: Sequence[Any], name: str, folder: Path) -> tuple[Cells, list[Picture]]:
    titles = np.empty(len(values), object)
    pictures = [_picture(value, f"row {row} in column {name!r}", folder) for row, value in enumerate(values)]
    for row, picture in enumerate(pictures):
        titles[row] = "" if picture is None else str(picture) if isinstance(picture, Path) else UNNAMED
    return titles, pictures


def _picture(value: Any, place: str, folder: Path) -> Picture:
    if isinstance(value, Mapping):  # as Hugging Face has it
        value = value.get("bytes") or value.get("path")
    if is_nothing(value) or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, str | Path):
        return resolve(folder, str(value))
    if isinstance(value, Image.Image):
        return plain_pixels(value, place)[0]
    if isinstance(value, bytes):
        return value
    pixels = value.cpu().numpy() if isinstance(value, Tensor) else value
    form = getattr(pixels, "shape", ())
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or not (len(form) == 2 or form[2:] == (3,)):
        kind = f"{pixels.dtype} {form}" if isinstance(pixels, np.ndarray) else excerpt(value, 60)
        raise UsageError(f"{place} is {kind}: give a path, bytes, a picture of PIL, or uint8 (h, w) or (h, w, 3)")
    return pixels
