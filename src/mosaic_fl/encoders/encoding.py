"""A data set of images or rows -> one of vectors, by a public encoder."""

import time

import torch

from mosaic_fl.config.encoder_names import AUTOMATIC, SMALL
from mosaic_fl.domains.dataset import Dataset, Splits
from mosaic_fl.domains.kind import Kind
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.vector import Vector
from mosaic_fl.encoders.encoder import Encoder
from mosaic_fl.encoders.naming import make_encoder
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import note

LONG = 5.0  # seconds; what takes longer is told


def encode(dataset: Dataset, encoder: Encoder | str = "auto", device: torch.device | str = "cpu") -> Dataset:
    """The data set with each sample's vector in place of its one field; labels and classes stay.

    `encoder` may be the name of a public encoder, as `--encoder` takes it. A note says how long it will take, where
    that is more than some seconds. Raises UsageError where the samples are not of the kind that the encoder takes.
    """
    kind = _one_kind(encoder if isinstance(encoder, str) else encoder.name, dataset.schema)
    encoder = make_encoder(encoder, kind) if isinstance(encoder, str) else encoder
    if kind != encoder.of:
        raise UsageError(f"encoder {encoder.name} takes {encoder.of.summary}: it is for {kind.difference(encoder.of)}")
    schema = Schema({Vector.name: encoder.kind}, dataset.schema.classes)
    return Dataset(encode_samples(dataset.samples, encoder, schema, device), dataset.labels, schema)


def encode_samples(samples: Samples, encoder: Encoder, schema: Schema, device: torch.device | str = "cpu") -> Samples:
    """The samples' vectors as samples of `schema`, which has one field."""
    progress = _Progress(len(samples), encoder.name)
    vectors = encoder.vectors(samples.only, device, progress.hear)
    return Samples(schema.fields, {next(iter(schema.fields)): vectors})


def encode_by_name(dataset: Dataset, name: str, device: torch.device | str = "cpu") -> Dataset:
    """`encode` by the encoder that the user names; the data set itself without a name, and vectors with "auto"."""
    return encode(dataset, name, device) if _has_use(name, dataset.schema) else dataset


def encode_splits(splits: Splits, name: str, device: torch.device | str = "cpu") -> Splits:
    """Both parts of a data set, each encoded once; as `encode_by_name` says."""
    if not _has_use(name, splits.train.schema):
        return splits
    encoder = make_encoder(name, _one_kind(name, splits.train.schema))
    train, test = (encode(part, encoder, device) for part in (splits.train, splits.test))
    return Splits(splits.name, train, test, splits.column)


def _has_use(name: str, schema: Schema) -> bool:
    """Whether there is something to encode: the encoder that suits vectors is none."""
    return bool(name) and not (name in AUTOMATIC and schema.of_vectors)


def _one_kind(name: str, schema: Schema) -> Kind:
    if schema.joins:
        way = "name --model" if name == SMALL else "leave --encoder out"  # SMALL is the default without a model
        raise UsageError(
            f"encoder {name} makes a vector of samples of one field, and these have {', '.join(schema.fields)}: {way}"
        )
    return schema.kind


class _Progress:
    """Tells once, after the second batch, how long the encoding of `total` samples takes."""

    def __init__(self, total: int, name: str) -> None:
        self.total = total
        self.name = name
        self.calls = 0
        self.first = 0
        self.begin = time.monotonic()

    def hear(self, count: int) -> None:
        """`count` samples are encoded."""
        self.calls += 1
        if self.calls == 1:  # it also makes things ready, which takes time once
            self.first = count
            self.begin = time.monotonic()
        elif self.calls == 2:
            seconds = (time.monotonic() - self.begin) * (self.total - self.first) / (count - self.first)
            if seconds > LONG:
                note(f"{self.name} encodes {self.total:,} samples, which takes about {seconds:.0f} seconds")
