"""Data sets of vectors: the splits of a simulation, one client's data, and arrays of a user."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mosaic_fl.config import DataConfig, ReadingConfig
from mosaic_fl.data.labels import Labels, by_name, in_classes
from mosaic_fl.data.names import in_order
from mosaic_fl.data.parts import locate
from mosaic_fl.data.places import existing
from mosaic_fl.data.validation import TEST_SHARE, hold_out
from mosaic_fl.data.vector_files import is_vector_file, read_vectors
from mosaic_fl.domains.dataset import Dataset, Splits
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.vector import Vector
from mosaic_fl.errors import UsageError
from mosaic_fl.numerics.randomness import Stream

Array = npt.NDArray[Any]


def are_vectors(files: Sequence[Path], reading: ReadingConfig) -> bool:
    """Whether these files are vectors, and not images or tables."""
    return all(file.is_file() and is_vector_file(file, reading) for file in files)


def of_vectors(schema: Schema) -> bool:
    """Whether samples of a schema are one vector each."""
    return [kind.name for kind in schema.fields.values()] == [Vector.name]


def vector_schema(size: int, classes: tuple[str, ...], kind: Vector | None = None) -> Schema:
    """The schema of samples that are one vector of `size` numbers, or of this `kind`."""
    return Schema({Vector.name: kind or Vector(size)}, classes)


def vector_splits(train: Sequence[Path], test: Sequence[Path], config: DataConfig, stream: Stream) -> Splits:
    """The training and test vectors of files; without `test` a fifth of each class, which `stream` draws.

    Raises UsageError for files that cannot be read, for classes that differ, and for too few samples.
    """
    values, labels = _read(train, config)
    numbers, names = in_classes(labels, None, _place(config.name), config.name)
    data = _dataset(values, numbers, vector_schema(values.shape[1], names), config.name)
    if bare := np.flatnonzero(data.class_counts() == 0).tolist():
        raise UsageError(f"{config.name} has no sample of class {names[bare[0]]} to learn from")
    if test:
        return Splits(config.name, data, _of_schema(test, f"the test part of {config.name}", config, data.schema))
    rest, held = hold_out(data, TEST_SHARE, stream)
    if not len(held):
        raise UsageError(f"{config.name} has too few samples ({len(data)}) to set a fifth aside for testing")
    return Splits(config.name, rest, held)


def load_vectors(
    files: Sequence[Path],
    source: str,
    reading: ReadingConfig,
    schema: Schema | None = None,
    classes: int | Sequence[str] | None = None,
) -> Dataset:
    """The labelled vectors of one client's files: see `sources.load_file`. Raises UsageError for other sizes."""
    if schema is not None:
        return _of_schema(files, source, reading, schema)
    values, labels = _read(files, reading)
    numbers, names = in_classes(labels, classes, _place(source), source)
    return _dataset(values, numbers, vector_schema(values.shape[1], names), source)


def vectors_of(features: Any, schema: Schema) -> Tensor:
    """Vectors in memory, (n, size) or (size,) for one, as float32 (n, size) of a schema; raises UsageError."""
    values = np.asarray(features.detach().cpu() if isinstance(features, Tensor) else features)
    values = values[None] if values.ndim == 1 else values
    size = schema.shape[0]
    if values.dtype.kind not in "fiu" or values.ndim != 2 or values.shape[1] != size:
        raise UsageError(f"vectors are {values.dtype} {values.shape}, but the model takes numbers (n, {size})")
    tensor = as_tensor(values)
    schema.kind.check(tensor)
    return tensor


def as_tensor(values: Array) -> Tensor:
    """Numbers of any type as a float32 tensor; what float32 cannot hold becomes infinite, which no kind accepts."""
    with np.errstate(over="ignore"):
        return torch.from_numpy(np.ascontiguousarray(values, np.float32).copy())


def _of_schema(files: Sequence[Path], source: str, reading: ReadingConfig, schema: Schema) -> Dataset:
    if not of_vectors(schema):
        raise UsageError(f"{source} has vectors, and the schema says {schema.summary}")
    if strange := [file for file in files if not (file.is_file() and is_vector_file(file, reading))]:
        raise UsageError(f"{strange[0]} holds no vectors, and the schema says {schema.summary}: give .npz or Parquet")
    values, labels = _read(files, reading)
    if values.shape[1] != schema.shape[0]:
        raise UsageError(f"{source} has vectors of {values.shape[1]:,} numbers, and the schema says {schema.summary}")
    return _dataset(values, in_classes(labels, schema.classes, _place(source), source)[0], schema, source)


def _read(files: Sequence[Path], reading: ReadingConfig) -> tuple[Array, Labels]:
    """The vectors and labels of the files of one data set; raises UsageError where they do not fit each other."""
    parts = [(file, *_labelled(file, reading)) for file in files]
    first, values, labels = parts[0]
    for file, others, more in parts[1:]:
        if others.shape[1] != values.shape[1]:
            raise UsageError(f"{file} has vectors of {others.shape[1]} numbers, {first.name} of {values.shape[1]}")
        if (more.names is None) != (labels.names is None):
            raise UsageError(f"{file} and {first.name} name different classes: they are no one data set")
    return np.concatenate([part[1] for part in parts]), _joined([part[2] for part in parts], str(first))


def _joined(parts: Sequence[Labels], source: str) -> Labels:
    first = parts[0]
    if first.names is None:
        return Labels(np.concatenate([part.numbers for part in parts]))
    names = tuple(dict.fromkeys(name for part in parts for name in part.names or ()))
    names = names if first.coded else in_order(names)
    return Labels(np.concatenate([by_name(part, names, source) for part in parts]), names, first.coded)


def _labelled(file: Path, reading: ReadingConfig) -> tuple[Array, Labels]:
    values, labels = read_vectors(file, reading)
    if labels is None:
        raise UsageError(
            f"{file} has no labels: numpy.savez(file, features=…, labels=…) writes both, or name them by --label-column"
        )
    if len(values) != len(labels.numbers):
        raise UsageError(f"{file} has {len(values)} vectors, but {len(labels.numbers)} labels")
    if not len(values):
        raise UsageError(f"{file} has no rows")
    return values, labels


def _dataset(values: Array, labels: npt.NDArray[np.int64], schema: Schema, source: str) -> Dataset:
    tensor = as_tensor(values)
    try:
        return Dataset(Samples(schema.fields, {next(iter(schema.fields)): tensor}), torch.tensor(labels), schema)
    except UsageError as error:
        raise UsageError(f"{source}: {error}") from error


def _place(source: str) -> Any:
    return lambda row: f"row {row} of {source}"


def is_vector_source(path: str | Path, reading: ReadingConfig) -> bool:
    """Whether the data at `path` are vectors already; raises UsageError where there are none."""
    place = locate(existing(path), reading)
    assert place is not None
    return are_vectors([file for part in (place.whole, *place.parts.values()) for file in part], reading)
