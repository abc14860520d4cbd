"""Predictions of a global model for files of whatever kind of samples it takes."""

from pathlib import Path

import torch

from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.fields.rows import has_fields
from mosaic_fl.data.tables import is_tabular
from mosaic_fl.data.vectors import of_vectors
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.runs.field_predicting import predict_fields
from mosaic_fl.runs.predicting import Predictions, predict_images
from mosaic_fl.runs.table_predicting import predict_rows
from mosaic_fl.runs.vector_predicting import predict_vectors


def predict_any(model: GlobalModel, data: Path, reading: ReadingConfig, device: torch.device) -> Predictions:
    """The predictions for the samples at `data`; raises UsageError where there are none that the model takes."""
    if has_fields(model.schema):
        return predict_fields(model, data, reading, device)
    if is_tabular(model.schema):
        return predict_rows(model, data, reading, device)
    if of_vectors(model.schema):
        return predict_vectors(model, data, reading, device)
    return predict_images(model, data, reading, device)
