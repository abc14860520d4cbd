"""Small tables for tests: rows with laws that can be counted."""

import torch
from torch import Tensor

from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.table import Column, Table

COLUMNS = (
    Column("age", "whole", low=0, high=100, knots=(0, 25, 50, 75, 100)),
    Column("dose", "numeric", low=-1, high=9, knots=(-1, 0, 9), missing=True),
    Column("smoker", "boolean"),
    Column("ward", "category", categories=("a", "b", "c"), missing=True),
)
SCHEMA = Schema({"table": Table(COLUMNS)}, ("ill", "well", "unknown"))


def rows(values: Tensor, labels: Tensor, schema: Schema = SCHEMA) -> Dataset:
    """A data set of rows at rest."""
    return Dataset(Samples(schema.fields, {"table": values.float()}), labels.long(), schema)


def patients(count: int, seed: int = 0, shift: int = 0) -> Dataset:
    """Two classes: the ill are 60 to 80 years old and in ward a or b by whether they smoke; the well 20 to 40, in c.

    The dose is 0 for half of all, missing for a quarter, and else between 5 and 9. `shift` is added to the age.
    """
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    age = torch.randint(20, 41, (count,), generator=rng) + 40 * (labels == 0) + shift
    smoker = torch.randint(0, 2, (count,), generator=rng)
    ward = torch.where(labels == 0, smoker, 2)
    chance = torch.rand(count, generator=rng)
    dose = 5 + 4 * torch.rand(count, generator=rng)
    dose[chance < 0.5] = 0
    dose[chance > 0.75] = torch.nan
    return rows(torch.stack([age.float(), dose, smoker.float(), ward.float()], 1), labels)
