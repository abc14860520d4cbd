"""Predictions of a global model for the rows of a table. A row that cannot be read gives an error."""

from collections.abc import Iterator
from pathlib import Path

import torch

from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.table.frame import Frame
from mosaic_fl.data.table.reading import read_frame
from mosaic_fl.data.table.rows import table_of, tell_far, tell_unread
from mosaic_fl.data.table.values import Parsed, parse, why_no_answer
from mosaic_fl.data.tables import tell_idle
from mosaic_fl.domains.samples import Samples
from mosaic_fl.runs.answering import NO_ANSWER, answers
from mosaic_fl.runs.predicting import Model, Prediction, Predictions

BATCH = 4096  # rows at once


def predict_rows(model: Model, data: Path, reading: ReadingConfig, device: torch.device) -> Predictions:
    """The predictions for the rows of the file `data`, which may have labels or not.

    Raises UsageError where it lacks a column that the model needs.
    """
    tell_idle(reading, str(data))
    frame = read_frame(data)
    table = table_of(model.schema)
    tell_unread(frame, table, table.label)
    parsed = parse(frame, table)
    for part in parsed.columns:
        tell_far(frame, part)
    return Predictions(_predictions(model, frame, parsed, device), len(frame), ("row",), "rows")


def _predictions(model: Model, frame: Frame, parsed: Parsed, device: torch.device) -> Iterator[Prediction]:
    assess = model.assessor()
    field = next(iter(model.schema.fields))
    for start in range(0, len(frame), BATCH):
        rows = range(start, min(start + BATCH, len(frame)))
        errors = {row: why_no_answer(frame, parsed, row) for row in rows}
        good = [row for row in rows if not errors[row]]
        values = torch.from_numpy(parsed.values[good])
        samples = Samples(model.schema.fields, {field: values})
        by_row = dict(zip(good, answers(assess(samples, device)) if good else (), strict=True))
        for row in rows:
            yield Prediction(row, "", row, by_row.get(row, NO_ANSWER), errors[row])
