"""Digits as samples of several fields, for tests: two halves, and a table of the ink in each."""

import torch

import mosaic_fl
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.image import Image
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.table import Column, Table
from mosaic_fl.exchange.contribution import Contribution

INK = tuple(
    Column(name, "numeric", low=0.0, high=40.0, knots=(0.0, 10.0, 20.0, 40.0)) for name in ("ink_left", "ink_right")
)
KINDS = {"left": Image((1, 8, 4)), "right": Image((1, 8, 4)), "table": Table(INK)}
FEW = {
    "train.max_steps": 5, "train.min_steps": 5, "generator.steps": 5, "generator.width": 4, "meta.steps": 3,
    "meta.samples": 60, "distill.steps": 5, "distill.pool": 60, "distill.terms": 1,
}  # fmt: skip


def views(digits: Dataset, n: int = 300) -> Dataset:
    """The first `n` digits in three fields, all of which every sample has."""
    images = digits.images[:n]
    halves = {"left": images[..., :4].contiguous(), "right": images[..., 4:].contiguous()}
    ink = torch.stack([half.float().sum((1, 2, 3)) / 255 for half in halves.values()], 1).clamp(0, 40)
    schema = Schema(KINDS, digits.schema.classes)
    return Dataset(Samples(KINDS, {**halves, "table": ink}), digits.labels[:n], schema)


def only(data: Dataset, *fields: str) -> Dataset:
    """The same samples with these fields alone."""
    return Dataset(data.samples.with_fields(fields), data.labels, data.schema)


def made(data: Dataset, client: int, model: str, *fields: str, **settings: object) -> Contribution:
    """The contribution, after next to no training, of a client that has these fields."""
    return mosaic_fl.contribute(only(data, *fields), model=model, client=client, settings={**FEW, **settings})
