"""Predictions of a global model for any number of pictures, one batch at a time. A broken picture gives an error."""

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch

from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.inputs import Input, Inputs, read_inputs
from mosaic_fl.domains.image.decoding import tell_remarks
from mosaic_fl.domains.image.form import picture_form
from mosaic_fl.domains.image.opening import Picture, Pixels
from mosaic_fl.domains.image.picture import PictureForm, Remark, read_picture
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.assessment import Assessor
from mosaic_fl.numerics.devices import images_at_once
from mosaic_fl.runs.answering import NO_ANSWER, Answer, answers

BATCH_BYTES = 2**24  # of pixels at rest, four times as many in use

T = TypeVar("T")


@dataclass(frozen=True)
class Prediction:
    """The prediction for input number `image`, from 0: an `answer`, or an `error`.

    `file` and `row` are those of the `Input`. `abstained` says why the model does not answer, where it does not.
    """

    image: int
    file: str
    row: int | None
    answer: Answer = NO_ANSWER
    error: str = ""
    abstained: str = ""

    @property
    def probabilities(self) -> tuple[float, ...]:
        """Those of the answer, (C,); empty where there is none."""
        return self.answer.probabilities


@dataclass(frozen=True)
class Predictions:
    """The predictions for `total` inputs, which are `inputs` in words; `places` of each say which one it is."""

    predictions: Iterator[Prediction]
    total: int
    places: tuple[str, ...]
    inputs: str


class Model(Protocol):
    """A model of samples of a schema: a `GlobalModel`, or one behind its public encoder."""

    @property
    def schema(self) -> Schema:
        """The schema of what is read."""

    def assessor(self) -> Assessor:
        """The classifier for inference, with what is known of the trust in it."""


def predict_images(model: Model, data: Path, reading: ReadingConfig, device: torch.device) -> Predictions:
    """The predictions for the pictures at `data`; raises UsageError where there are none."""
    form = model_form(model.schema, reading)
    inputs = read_inputs(data, reading)
    places = ("image", "file", "row") if inputs.tabular else ("image", "file")
    return Predictions(predictions(model, inputs, form, device), inputs.total, places, "images")


def model_form(schema: Schema, reading: ReadingConfig) -> PictureForm:
    """The form in which pictures are read for a model of that schema: its channels, and its size if that is square.

    A coloured picture becomes grey where the model takes grey ones. Raises UsageError for a model that takes no
    pictures.
    """
    channels, height, width = schema.shape
    if channels not in (1, 3):
        raise UsageError(f"the model takes images of {channels} channels, and image files have 1 or 3")
    size = height if height == width else 0
    kind = "grey" if channels == 1 else "colour"
    return picture_form(reading.model_copy(update={"image_size": size, "channels": kind}), schema)


def predictions(model: Model, inputs: Inputs, form: PictureForm, device: torch.device | str) -> Iterator[Prediction]:
    """One prediction an input, in their order. `form` is that of the model; notes at the end say how pictures changed.

    Only one batch of pictures and predictions is in memory at a time.
    """
    assess = model.assessor()
    at_once = max(1, min(images_at_once(device), BATCH_BYTES // int(np.prod(model.schema.shape))))
    field = next(iter(model.schema.fields))
    remarks: Counter[Remark] = Counter()
    total = 0
    for batch in _batches(inputs.items, at_once):
        decoded = [_decode(item, total + i, inputs, form, model.schema, remarks) for i, item in enumerate(batch)]
        pixels = [value for value in decoded if not isinstance(value, str)]
        rows: Iterator[Answer] = iter(())
        if pixels:
            values = torch.from_numpy(np.stack(pixels))
            rows = answers(assess(Samples(model.schema.fields, {field: values}), device))
        for number, (item, value) in enumerate(zip(batch, decoded, strict=True), total):
            if isinstance(value, str):
                yield Prediction(number, item.file, item.row, error=value)
            else:
                yield Prediction(number, item.file, item.row, next(rows))
        total += len(batch)
    tell_remarks(remarks, model.schema.shape[0], total, inputs.source, form)


def _decode(
    item: Input, number: int, inputs: Inputs, form: PictureForm, schema: Schema, remarks: "Counter[Remark]"
) -> Pixels | str:
    """Pixels of the schema's shape, or the error; `remarks` counts the changes to the picture."""
    place = f"row {item.row} of {inputs.source}" if inputs.tabular else item.file or f"image {number}"
    channels, height, width = schema.shape
    return pixels_or_error(item.picture, place, form, (channels, height, width), remarks)


def pixels_or_error(
    picture: Picture, place: str, form: PictureForm, shape: tuple[int, int, int], remarks: "Counter[Remark]"
) -> Pixels | str:
    """Pixels of `shape`, or the error, in which `place` names the picture; `remarks` counts the changes to it."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            pixels, changes = read_picture(picture, form, place)
    except UsageError as error:
        return " ".join(str(error).split())
    if pixels.shape[1:] != shape[1:]:
        return f"{place} has {pixels.shape[1]}×{pixels.shape[2]} pixels, and the model takes {shape[1]}×{shape[2]}"
    remarks.update(changes)
    return np.ascontiguousarray(np.broadcast_to(pixels, shape))


def _batches(items: Iterable[T], size: int) -> Iterator[Sequence[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
