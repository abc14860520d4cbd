"""Predictions of a global model for files of whatever kind of samples it takes."""

from pathlib import Path

import torch

from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.fields.rows import has_fields
from mosaic_fl.data.fields.settings import reading_of_fields
from mosaic_fl.data.tables import is_tabular
from mosaic_fl.data.vectors import is_vector_source, of_vectors
from mosaic_fl.exchange.encoded import encoded
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.notes import note
from mosaic_fl.runs.field_predicting import predict_fields
from mosaic_fl.runs.predicting import Model, Predictions, predict_images
from mosaic_fl.runs.table_predicting import predict_rows
from mosaic_fl.runs.vector_predicting import predict_vectors


def predict_any(model: GlobalModel, data: Path, reading: ReadingConfig, device: torch.device) -> Predictions:
    """The predictions for the samples at `data`; raises UsageError where there are none that the model takes.

    A model of vectors takes a file of vectors, or what its public encoder encodes.
    """
    source: Model = model
    reading = reading_of_fields(model.schema, reading)
    if has_fields(model.schema):
        return predict_fields(model, data, reading, device)
    if of_vectors(model.schema):
        behind = None if _are_vectors(data, reading) else encoded(model, reading.encoder)
        if behind is None:
            return predict_vectors(model, data, reading, device)
        source = behind
    elif reading.encoder:
        note(f"the model takes {model.schema.kind.summary}, not vectors: encoder {reading.encoder} has no use")
    predict = predict_rows if is_tabular(source.schema) else predict_images
    return predict(source, data, reading, device)


def _are_vectors(data: Path, reading: ReadingConfig) -> bool:
    return data.is_file() and is_vector_source(data, reading)
