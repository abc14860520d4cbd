"""Labelled images from a user's own arrays, or from an object such as a `torch.utils.data.Dataset`."""

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from mosaic_fl.data.labels import in_classes, read_labels
from mosaic_fl.data.vectors import as_tensor, vector_schema
from mosaic_fl.domains.dataset import Dataset, image_dataset
from mosaic_fl.domains.image.opening import DEEP
from mosaic_fl.domains.image.picture import plain_pixels
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError, excerpt
from mosaic_fl.notes import note

CHANNELS = (1, 3, 4)
LEAST = 2  # classes: a classifier needs two
LEVELS = {"1", "L", "RGB", "RGBA", *DEEP}  # modes of PIL images whose numbers are levels of grey or colours

Array = npt.NDArray[Any]


class DatasetLike(Protocol):
    """The interface of `torch.utils.data.Dataset`: `len(dataset)` and `dataset[i]` -> (image, label)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def from_arrays(
    images: npt.ArrayLike | Tensor,
    labels: npt.ArrayLike | Tensor,
    classes: int | Sequence[str] | None = None,
    value_range: tuple[float, float] | None = None,
) -> Dataset:
    """Labelled images from numpy arrays, torch tensors or nested lists; they are copied.

    Floats (n, size) without `value_range` are vectors, as the features of a network, and stay as they are.
    `images` is (n, h, w) for grey, (n, channels, h, w) or (n, h, w, channels), with 1, 3 or 4 channels. Where both
    axis 1 and the last axis could be the channels, axis 1 is (torch's order). uint8 pixels have the range 0..255. Any
    other type needs `value_range`, the (black, white) values that become 0 and 255, for example (0, 1). `labels` is
    (n,) or (n, 1): whole numbers 0..C−1 (also as floats or truth values), or text. `classes` is C or the names of the
    classes. Without it, numbers must contain all of 0..C−1, and texts are the class names, sorted (numbers as numbers).
    Text labels are matched to class names, and so are numbers where all class names are whole numbers.

    Raises UsageError for other shapes and types, for labels that are no class, and for a pixel that is NaN, infinite or
    outside `value_range`, with the number of the first such sample (from 0).

    >>> from_arrays(np.zeros((2, 8, 8)), [0, 1], value_range=(0, 1)).schema.shape
    (1, 8, 8)
    """
    require_images(images)
    pixels = _array(images)
    values = _array(labels)
    if not pixels.size:
        raise UsageError(f"there are no images: the shape is {pixels.shape}")
    vectors = pixels.ndim == 2 and pixels.dtype.kind == "f" and value_range is None
    if not vectors:
        pixels = _channels_first(_as_uint8(pixels, value_range))
    if values.ndim and len(pixels) != len(values):
        raise UsageError(f"there are {len(pixels)} {'vectors' if vectors else 'images'}, but {len(values)} labels")
    source = "the arrays"
    class_names = _classes(classes)
    numbers, names = in_classes(read_labels(values, _place, source), class_names, _place, source, "classes=")
    if vectors:
        return image_dataset(as_tensor(pixels), torch.tensor(numbers), vector_schema(pixels.shape[1], names))
    _, channels, height, width = pixels.shape
    schema = image_schema((channels, height, width), names)
    return image_dataset(torch.tensor(np.ascontiguousarray(pixels)), torch.tensor(numbers), schema)


def require_images(images: object) -> None:
    """Raise UsageError for a frame of pandas or polars, or a dict of columns, which are tables."""
    if isinstance(images, Mapping) or (hasattr(images, "columns") and hasattr(images, "dtypes")):
        raise UsageError("this is a table: mosaic_fl.from_table(frame, labels, schema) makes a Dataset of it")


def from_dataset(
    dataset: DatasetLike,
    classes: int | Sequence[str] | None = None,
    value_range: tuple[float, float] | None = None,
) -> Dataset:
    """Labelled images from an object whose items are (image, label), read once, in order.

    An image is an array or tensor (h, w), (channels, h, w) or (h, w, channels), or a PIL image, all of one
    shape. A PIL image whose numbers are no levels, as those of a palette, becomes grey or RGB. `classes`, `value_range`
    and the errors are those of `from_arrays`. For example, torchvision's `ToTensor` gives floats of value range (0, 1).
    """
    images = []
    labels = []
    for row in range(len(dataset)):
        try:
            image, label = dataset[row]
        except (TypeError, ValueError) as error:
            raise UsageError(f"sample {row} of the data set is not (image, label)") from error
        images.append(_array(image, _place(row)))
        labels.append(_array(label))
        if images[row].shape != images[0].shape:
            raise UsageError(
                f"sample {row} has the shape {images[row].shape}, sample 0 {images[0].shape}: all must have the same"
            )
        if labels[row].size != 1:
            raise UsageError(f"sample {row} has a label of shape {labels[row].shape}: it must be one number or text")
    if not images:
        raise UsageError("the data set is empty")
    return from_arrays(np.stack(images), np.stack([label.reshape(()) for label in labels]), classes, value_range)


def pixels_of(images: npt.ArrayLike | Tensor, schema: Schema, value_range: tuple[float, float] | None = None) -> Tensor:
    """Images without labels as uint8 (n, *schema.shape), for a model of that schema.

    Layouts, types and errors are those of `from_arrays`; one image may come without n. The schema decides which
    axis holds the channels, and it is axis 1 where both fit. Raises UsageError, too, for images of another shape.
    """
    values = _array(images)
    channels, height, width = schema.shape
    first = (channels, height, width)
    last = (height, width, channels)
    flat = (height, width)
    form = values.shape
    if form in (first, last) or (channels == 1 and form == flat):
        values = values[None]
    if channels == 1 and values.shape[1:] == flat:
        values = values[..., None]
    if values.ndim != 4 or values.shape[1:] not in (first, last):
        layouts = [f"(n, {', '.join(map(str, axes))})" for axes in (first, last, *([flat] if channels == 1 else []))]
        raise UsageError(f"images have the shape {form}, but the model takes {' or '.join(layouts)}")
    if values.shape[1:] != first:
        values = values.transpose(0, 3, 1, 2)
    return torch.tensor(np.ascontiguousarray(_as_uint8(values, value_range)))


def _place(row: int) -> str:
    return f"sample {row}"


def _classes(classes: Any) -> int | list[str] | None:
    """The number of classes, or their names in a fixed order; raises UsageError for anything else."""
    if classes is None:
        return None
    if isinstance(classes, int | np.integer) and not isinstance(classes, bool):
        if classes < LEAST:
            raise UsageError(f"classes is {classes}: give how many there are in the whole federation, {LEAST} or more")
        return int(classes)
    if isinstance(classes, str | bytes | bool | Mapping | Set) or not isinstance(classes, Iterable):
        raise UsageError(f"classes is {excerpt(classes)}: give how many there are, or a list of their names, in order")
    names = list(classes)
    for name in names:
        if not isinstance(name, str):
            raise UsageError(f"class name {excerpt(name)} is no text: give the names of all classes as text, in order")
    return names


def _bounds(value_range: Any) -> tuple[float, float]:
    """The numbers (black, white); raises UsageError for anything else."""
    try:
        low, high = (value.item() if isinstance(value, Tensor) else value for value in value_range)
        if isinstance(value_range, str) or not (np.isfinite(low) and np.isfinite(high)):
            raise ValueError
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"value_range is {excerpt(value_range)}: give two numbers, (black, white)") from error
    if not low < high:
        raise UsageError(f"value_range is ({low}, {high}): black must be a smaller number than white")
    return low, high


def _array(values: Any, place: str = "a picture") -> Array:
    if isinstance(values, list | tuple) and any(isinstance(value, Image.Image) for value in values):
        values = [_levels(value, _place(row)) for row, value in enumerate(values)]
    values = _levels(values, place)
    try:
        return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)
    except (
        TypeError,
        ValueError,
        RuntimeError,
        OSError,
    ) as error:  # nested lists of unequal lengths, a type that numpy lacks
        raise UsageError(f"images and labels must be arrays of one shape: {error}") from error


def _levels(value: Any, place: str) -> Any:
    """A PIL image whose numbers are no levels as an array of levels; any other value unchanged."""
    if not isinstance(value, Image.Image) or value.mode in LEVELS:
        return value
    pixels, remarks = plain_pixels(value, place)
    for remark in remarks & {"on white", "on black"}:
        note(f"pictures of mode {value.mode} are partly transparent: laid {remark}")
    return pixels


def _as_uint8(pixels: Array, value_range: tuple[float, float] | None) -> npt.NDArray[np.uint8]:
    """The pixels in 0..255, of the same shape."""
    if value_range is None:
        if pixels.dtype != np.uint8:
            raise UsageError(
                f"images are {pixels.dtype}: give value_range=(black, white), for example (0, 1) or (-1, 1), "
                "or convert them to uint8"
            )
        return pixels
    low, high = _bounds(value_range)
    if pixels.dtype.kind not in "buif":
        raise UsageError(f"images are {pixels.dtype}: they must be numbers")
    values = pixels.astype(np.promote_types(pixels.dtype, np.float32), copy=False)
    _refuse(~np.isfinite(values), values, "a pixel must be a finite number")
    _refuse((values < low) | (values > high), values, f"value_range is ({low}, {high})")
    return np.rint((values - low) * (255 / (high - low))).astype(np.uint8)


def _refuse(wrong: npt.NDArray[np.bool_], values: Array, why: str) -> None:
    """Raise UsageError, with the first sample that has one, where a pixel is wrong."""
    if wrong.any():
        first = np.argwhere(wrong)[0]
        raise UsageError(f"sample {first[0]} has the pixel value {values[tuple(first)]:g}: {why}")


def _channels_first(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(n, h, w), (n, c, h, w) or (n, h, w, c) -> (n, c, h, w)."""
    if pixels.ndim == 3:
        return pixels[:, None]
    if pixels.ndim == 4 and pixels.shape[1] in CHANNELS:
        return pixels
    if pixels.ndim == 4 and pixels.shape[3] in CHANNELS:
        return pixels.transpose(0, 3, 1, 2)
    raise UsageError(
        f"images have the shape {pixels.shape}, not (n, h, w), (n, channels, h, w) or (n, h, w, channels) "
        "with 1, 3 or 4 channels"
    )
