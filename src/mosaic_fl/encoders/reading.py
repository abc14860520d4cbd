"""Data that are read and, where the user names a public encoder or a schema of vectors has one, encoded at once."""

from collections.abc import Sequence
from pathlib import Path

import torch

from mosaic_fl.config import Config, ReadingConfig
from mosaic_fl.data import schema_file as own_data
from mosaic_fl.data import sources
from mosaic_fl.data.rows import READING
from mosaic_fl.data.vectors import is_vector_source
from mosaic_fl.domains.dataset import Dataset, Splits
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.vector import Vector
from mosaic_fl.encoders.encoded import encoded_kind, raw_schema
from mosaic_fl.encoders.encoder import Encoder
from mosaic_fl.encoders.encoding import encode, encode_by_name, encode_splits
from mosaic_fl.encoders.naming import encoder_of
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import note
from mosaic_fl.numerics.devices import find_device


def load(config: Config) -> Splits:
    """The training and test samples of a simulation: see `sources.load`."""
    splits = sources.load(config.data, config.run.seed)
    return encode_splits(splits, config.data.encoder, find_device(config.run.device))


def load_own(
    path: Path,
    reading: ReadingConfig,
    classes: int | Sequence[str] | None = None,
    schema_file: Path | None = None,
    device: torch.device | str = "cpu",
) -> Dataset:
    """A client's labelled samples: see `schema_file.load_own`.

    A schema of vectors with an encoder says how they are read and encoded. Vectors in a file are taken as they are.
    """
    schema = own_data.read_schema(schema_file) if schema_file else None
    of = encoded_kind(schema) if schema else None
    if schema is None or of is None or is_vector_source(path, reading):
        return encode_by_name(own_data.load_own(path, reading, classes, schema_file), reading.encoder, device)
    if classes is not None:
        raise UsageError(f"the classes are those of {schema_file}: leave out the other ones")
    return load_as(path, schema, reading, str(schema_file), device)


def load_as(
    path: Path,
    schema: Schema,
    reading: ReadingConfig,
    source: str,
    device: torch.device | str = "cpu",
    encoder: Encoder | None = None,
) -> Dataset:
    """The samples of `load_own`, in its order, with a `schema` that `source` has.

    `encoder` makes vectors, where samples are encoded; without one it is that by its name. Raises UsageError for
    another schema.
    """
    of = encoded_kind(schema)
    if of is None or is_vector_source(path, reading):
        return own_data.load_as(path, schema, reading, source)
    raw = raw_schema(schema, of)
    data = sources.load_file(path, own_data.reading_as(raw, reading, source), raw)
    return encode(data, encoder or encoder_of(_vector(schema), reading.encoder), device)


def load_test(
    path: str | Path, schema: Schema, reading: ReadingConfig = READING, device: torch.device | str = "cpu"
) -> Dataset:
    """Labelled test samples for a model of `schema`, encoded as it says: see `sources.load_test`."""
    of = encoded_kind(schema)
    if of is None or is_vector_source(path, reading):
        if reading.encoder:
            note(f"{path} is read as the model takes it, {schema.summary}: encoder {reading.encoder} has no use")
        return sources.load_test(path, schema, reading)
    data = sources.load_test(path, raw_schema(schema, of), reading)
    return encode(data, encoder_of(_vector(schema), reading.encoder), device)


def _vector(schema: Schema) -> Vector:
    kind = schema.kind
    assert isinstance(kind, Vector)
    return kind
