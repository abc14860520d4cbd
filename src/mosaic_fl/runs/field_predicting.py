"""Predictions of a global model for rows of several fields, of which a row may lack some."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.fields.decoding import TableRows, field_form, plain_frame, table_rows
from mosaic_fl.data.fields.reading import read_file
from mosaic_fl.data.fields.rows import FieldRows, images_in, table_in
from mosaic_fl.data.fields.splits import missing_words
from mosaic_fl.data.names import listing
from mosaic_fl.data.table.rows import tell_far, tell_unread
from mosaic_fl.domains.image.decoding import tell_remarks
from mosaic_fl.domains.image.opening import Pixels
from mosaic_fl.domains.image.picture import PictureForm, Remark
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.notes import note
from mosaic_fl.runs.answering import NO_ANSWER, Answer, answers
from mosaic_fl.runs.predicting import BATCH_BYTES, Prediction, Predictions, pixels_or_error

BATCH = 4096  # rows at once, where images allow it


@dataclass(frozen=True)
class _Reader:
    """What is read of the rows: their table at rest, and the form of each column of pictures."""

    rows: FieldRows
    schema: Schema
    table: TableRows | None
    forms: Mapping[str, PictureForm]
    remarks: "Mapping[str, Counter[Remark]]"


def predict_fields(model: GlobalModel, data: Path, reading: ReadingConfig, device: torch.device) -> Predictions:
    """The predictions for the rows of the file `data`, which may have labels or not, and may lack fields.

    Raises UsageError where it has none of the model's fields.
    """
    schema = model.schema
    if reading.encoder:
        note(f"the model takes several fields, not vectors: encoder {reading.encoder} has no use")
    rows = read_file(data, reading.image_columns, missing_words(schema))
    named = table_in(schema)
    columns = [column.name for column in named[1].columns] if named else []
    if not rows.pictures and not any(name in rows.cells for name in columns):
        raise UsageError(
            f"{data} has none of the model's fields: it has {listing(list(rows.frame.columns))}, and the model takes "
            f"{listing([*images_in(schema), *columns])}"
        )
    table = table_rows(rows, named[1]) if named else None
    if named and table and table.parsed:
        tell_unread(plain_frame(rows), named[1], named[1].label)
        for part in table.parsed.columns:
            tell_far(plain_frame(rows), part)
    forms = {name: field_form(reading, image, to_grey=True) for name, image in images_in(schema).items()}
    lost = [name for name in forms if name not in rows.pictures]
    if named and table and table.parsed is None:
        lost.append(named[0])
    if lost:
        note(f"{data} has no field {listing(lost)}: predictions are from the others")
    reader = _Reader(rows, schema, table, forms, {name: Counter() for name in forms})
    return Predictions(_predictions(model, reader, device), len(rows), ("row",), "rows")


def _predictions(model: GlobalModel, reader: _Reader, device: torch.device) -> Iterator[Prediction]:
    assess = model.assessor()
    size = sum(prod(image.shape) for image in images_in(reader.schema).values())
    at_once = max(1, min(BATCH, BATCH_BYTES // max(size, 1)))
    for start in range(0, len(reader.rows), at_once):
        numbers = range(start, min(start + at_once, len(reader.rows)))
        errors, samples = _batch(reader, numbers)
        good = [row for row in numbers if row not in errors]
        by_row: dict[int, Answer] = {}
        if good:
            chosen = samples[torch.tensor(good) - start]
            by_row = dict(zip(good, answers(assess(chosen, device)), strict=True))
        for row in numbers:
            yield Prediction(row, "", row, by_row.get(row, NO_ANSWER), errors.get(row, ""))
    for name, remarks in reader.remarks.items():
        pictures = [picture for picture in reader.rows.pictures.get(name, ()) if picture is not None]
        form = reader.forms[name]
        source = f"{reader.rows.source} in column {name!r}"
        tell_remarks(remarks, form.channels or 1, len(pictures), source, form)


def _batch(reader: _Reader, numbers: range) -> tuple[dict[int, str], Samples]:
    """The reason for each row that has no prediction, and the samples of all rows `numbers`."""
    errors = dict[int, str]()
    values = dict[str, Tensor]()
    present = dict[str, Tensor]()
    named = table_in(reader.schema)
    if named and reader.table:
        values[named[0]] = reader.table.values[numbers.start : numbers.stop]
        present[named[0]] = torch.from_numpy(reader.table.has[numbers.start : numbers.stop])
        parsed = reader.table.parsed
        errors |= {row: parsed.errors[row] for row in numbers if parsed and row in parsed.errors}
    for name in images_in(reader.schema):
        values[name], present[name] = _pictures(reader, name, numbers, errors)
    has = torch.stack(list(present.values())).any(0).tolist()
    for row, some in zip(numbers, has, strict=True):
        if not some:
            fields = ", ".join(reader.schema.fields)
            errors.setdefault(row, f"{reader.rows.frame.place(row)} has none of the fields {fields}")
    ordered = {name: values[name] for name in reader.schema.fields}
    return errors, Samples(reader.schema.fields, ordered, present)


def _pictures(reader: _Reader, name: str, numbers: range, errors: dict[int, str]) -> tuple[Tensor, Tensor]:
    """The images of one column, and which rows have one; a picture that cannot be read is added to `errors`."""
    image = images_in(reader.schema)[name]
    images = image.zeros(len(numbers)).numpy()
    has = np.zeros(len(numbers), np.bool_)
    column = reader.rows.pictures.get(name, [None] * len(reader.rows))
    place = reader.rows.place(name)
    for row in numbers:
        picture = column[row]
        if picture is None:
            continue
        words = str(picture) if isinstance(picture, Path) else place(row)
        value: Pixels | str = pixels_or_error(picture, words, reader.forms[name], image.shape, reader.remarks[name])
        if isinstance(value, str):
            errors.setdefault(row, value)
            continue
        images[row - numbers.start] = value
        has[row - numbers.start] = True
    return torch.from_numpy(images), torch.from_numpy(has)
