"""The public tables of `benchmarks/tables.py`: columns, missing values, and who has which rows.

Rows are read by pandas here, since a benchmark divides them in ways of its own. Ranges and knots come from the training
rows of all sites, as federated statistics would give them.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mosaic_fl.config import PartitionConfig
from mosaic_fl.data.partition import partition_indices
from mosaic_fl.domains.dataset import Dataset, Splits
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.table import Column, Table

ROWS = 5000  # for training
KNOTS = np.linspace(0, 1, 33)


@dataclass(frozen=True)
class Source:
    """A file: its target, columns that are no features, words and zeros that stand for missing values, categories."""

    target: str
    leave_out: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    zeros_missing: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    site: str = ""


SOURCES = {
    "adult": Source("Salary", ("fnlwgt",), ("?",)),
    "bank": Source("subscribed", (), ("unknown",)),
    "default": Source("default", ("ID",), categories=("SEX", "EDUCATION", "MARRIAGE")),
    "heart": Source("HeartDisease", ("id",), zeros_missing=("chol", "trestbps"), site="dataset"),
    "letter": Source("letter"),
}


@dataclass(frozen=True)
class Tables:
    """A data set divided into training rows, with the `group` of each, and test rows."""

    splits: Splits
    groups: np.ndarray
    ages: np.ndarray


def load(folder: Path, name: str, seed: int) -> Tables:
    """`ROWS` training rows, or 70 % of fewer, drawn with `seed`; the rest tests."""
    source = SOURCES[name]
    frame = pd.read_csv(folder / f"{name}.csv", na_values=list(source.missing), skipinitialspace=True)
    if name == "heart":
        frame[source.target] = (frame[source.target] > 0).astype(int)
    for column in source.zeros_missing:
        frame[column] = frame[column].replace(0, np.nan)
    order = np.random.default_rng(seed).permutation(len(frame))
    count = ROWS if len(frame) > 2 * ROWS else round(0.7 * len(frame))
    rows = order[:count]
    target = frame[source.target].astype(str)
    classes = tuple(sorted(target.unique()))
    features = [c for c in frame if c not in (source.target, source.site, *source.leave_out)]
    columns = tuple(_column(frame[c], frame[c].iloc[rows], c in source.categories) for c in features)
    schema = Schema({"table": Table(columns, label=source.target)}, classes)
    values = np.stack([_values(frame[column.name], column) for column in columns], 1)
    labels = target.map({word: number for number, word in enumerate(classes)}).to_numpy()

    def part(index: np.ndarray) -> Dataset:
        samples = Samples(schema.fields, {"table": torch.tensor(values[index])})
        return Dataset(samples, torch.tensor(labels[index], dtype=torch.int64), schema)

    ages = next((frame[c].to_numpy(float) for c in ("age", "AGE", "Age") if c in frame), np.zeros(len(frame)))
    groups = frame[source.site].astype("category").cat.codes.to_numpy() if source.site else np.zeros(len(frame))
    return Tables(Splits(name, part(rows), part(order[count:])), groups[rows], ages[rows])


def divide(tables: Tables, split: str, seed: int) -> list[Dataset]:
    """The rows of each of five sites: `split` is "age", "site" (as many as there are), or α as text."""
    train = tables.splits.train
    if split == "site":
        return [train.subset(np.flatnonzero(tables.groups == site)) for site in np.unique(tables.groups)]
    if split == "age":
        return [train.subset(index) for index in np.array_split(np.argsort(tables.ages, kind="stable"), 5)]
    config = PartitionConfig(clients=5, alpha=float(split))
    indices = partition_indices(train.labels.numpy(), train.schema.num_classes, config, seed)
    return [train.subset(index) for index in indices]


def _column(values: pd.Series, train: pd.Series, is_category: bool) -> Column:
    missing = bool(values.isna().any())
    name = str(values.name)
    if is_category or not pd.api.types.is_numeric_dtype(values):
        return Column(name, "category", tuple(sorted(values.dropna().astype(str).unique())), missing=missing)
    whole = bool((values.dropna() % 1 == 0).all())
    knots = np.unique(np.quantile(train.dropna(), KNOTS).astype(np.float32)).astype(float)
    if len(knots) < 2:
        knots = np.array([knots[0], knots[0] + 1])
    return Column(
        name, "whole" if whole else "numeric", (), float(knots[0]), float(knots[-1]), tuple(knots.tolist()), missing
    )


def _values(values: pd.Series, column: Column) -> np.ndarray:
    if column.type != "category":
        return values.to_numpy(np.float32)
    codes = {word: float(code) for code, word in enumerate(column.categories)}
    return values.map(lambda value: codes.get(str(value), np.nan), na_action="ignore").to_numpy(np.float32)
