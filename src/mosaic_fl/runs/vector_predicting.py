"""Predictions of a global model for a file of vectors. A vector with a number that is not finite gives an error."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.vector_files import is_vector_file, read_vectors
from mosaic_fl.data.vectors import as_tensor
from mosaic_fl.domains.samples import Samples
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.runs.answering import NO_ANSWER, answers
from mosaic_fl.runs.predicting import Prediction, Predictions

BATCH = 4096  # vectors at once


def predict_vectors(model: GlobalModel, data: Path, reading: ReadingConfig, device: torch.device) -> Predictions:
    """The predictions for the vectors in the file `data`, which may have labels or not.

    Raises UsageError for another file, and for vectors of another size.
    """
    if not data.is_file() or not is_vector_file(data, reading):
        raise UsageError(
            f"the model takes {model.schema.kind.summary}: {data} is no file of some (.npz, .npy, Parquet)"
        )
    values = as_tensor(read_vectors(data, reading)[0])
    if values.shape[1] != model.schema.shape[0]:
        raise UsageError(f"{data} has vectors of {values.shape[1]}, and the model takes {model.schema.kind.summary}")
    return Predictions(_predictions(model, values, str(data), device), len(values), ("row",), "vectors")


def _predictions(model: GlobalModel, values: Tensor, source: str, device: torch.device) -> Iterator[Prediction]:
    assess = model.assessor()
    field = next(iter(model.schema.fields))
    for start in range(0, len(values), BATCH):
        part = values[start : start + BATCH]
        finite = part.isfinite().all(1)
        samples = Samples(model.schema.fields, {field: part[finite]})
        rows = answers(assess(samples, device)) if finite.any() else iter(())
        for row, whole in enumerate(finite.tolist(), start):
            error = "" if whole else f"row {row} of {source} has a number that is not finite"
            yield Prediction(row, "", row, next(rows) if whole else NO_ANSWER, error)
