"""The bins of a column: intervals of a number, each code of the others; the missing values are the last bin."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mosaic_fl.domains.table import Column
from mosaic_fl.domains.table.column import NUMBERS
from mosaic_fl.errors import UsageError
from mosaic_fl.generators.cart import leaves
from mosaic_fl.generators.cart.trees import LEAST
from mosaic_fl.generators.marginals.cells import runs

QUANTILES = 5  # of numbers in a bin
SORTS = 3  # of bins of a number: full ones, those before a frequent value, those before a gap
ROWS_A_BIN = 25  # of a number, on average: with fewer it has fewer bins


@dataclass(frozen=True)
class Bins:
    """A column's rows in bins: `codes` int64 (n,) in 0..`count` − 1, and what the bins hold.

    `values` float32 (bins with values, `QUANTILES`) are the quantiles of a number; of other columns a bin is its value,
    and there are none. `natural`: neighbouring bins are alike.
    """

    codes: Tensor
    count: int
    values: Tensor
    natural: bool


def of_column(values: Tensor, column: Column, most: int) -> Bins:
    """The bins of `values` (n,) at rest; a number has `most` of them at most, each with `LEAST` rows at least."""
    absent = values.isnan()
    if column.type not in NUMBERS:
        codes = torch.where(absent, codes_of(column), values.nan_to_num(0.0).long())
        return Bins(codes, codes_of(column) + column.missing, torch.zeros(0, QUANTILES), False)
    there = values[~absent].clamp(*_range(column))
    where = _intervals(there, min((most - 1) // SORTS, len(there) // ROWS_A_BIN))
    count = int(where.max()) + 1 if len(where) else 1
    codes = torch.full((len(values),), count, dtype=torch.int64)
    codes[~absent] = where
    return Bins(codes, count + column.missing, _quantiles(there, where, count, column), True)


def codes_of(column: Column) -> int:
    """How many values a column has that is no number."""
    return len(column.categories) or 2


def most_of(column: Column, most: int) -> int:
    """How many bins a column has at most, where a number has `most` beside the missing ones."""
    return (most if column.type in NUMBERS else codes_of(column)) + column.missing


def numbers_of(column: Column, count: int) -> int:
    """How many numbers say what the `count` bins of a column hold."""
    return (count - column.missing) * QUANTILES if column.type in NUMBERS else 0


def draw(codes: Tensor, values: Tensor, u: Tensor, column: Column, count: int) -> Tensor:
    """Values at rest, float32 (n,), of rows in the bins `codes` (n,) of `count`, by uniform numbers `u` (n,) in 0..1.

    A number is drawn evenly between neighbouring quantiles, each gap as likely as another; whole ones are rounded.
    """
    absent = codes == count - 1 if column.missing else torch.zeros_like(codes, dtype=torch.bool)
    if column.type not in NUMBERS:
        return codes.float().masked_fill(absent, torch.nan)
    quantiles = values[codes.clamp(max=len(values) - 1)]
    steps = u * (QUANTILES - 1)
    left = steps.long().clamp(max=QUANTILES - 2)
    low = quantiles.gather(1, left[:, None]).flatten()
    high = quantiles.gather(1, left[:, None] + 1).flatten()
    numbers = torch.minimum(torch.maximum(low + (steps - left) * (high - low), low), high)
    numbers = numbers.round() if column.type == "whole" else numbers
    return numbers.masked_fill(absent, torch.nan)


def check(values: Tensor, column: Column) -> None:
    """Raise UsageError unless the `values` (bins, `QUANTILES`) of a number are quantiles in its range."""
    low, high = _range(column)
    inside = (values >= low) & (values <= high)
    if not bool(inside.all()) or bool((values.diff(dim=1) < 0).any()):
        raise UsageError(
            f"the generator's bins of column {column.name!r} have quantiles out of its range, or that do not increase"
        )


def _range(column: Column) -> tuple[float, float]:
    """The ends of a number's range in float32, as its values are."""
    return float(np.float32(column.low)), float(np.float32(column.high))


def _intervals(values: Tensor, most: int) -> Tensor:
    """The interval of each number, int64 (n,): a value of n / `most` rows is one for itself, the others have as many.

    A gap of 1 / `most` of the range divides, too. They are `SORTS` · `most` + 1 at most. Each has `LEAST` rows at
    least, for which neighbours are joined.
    """
    if most < 2:
        return torch.zeros(len(values), dtype=torch.int64)
    distinct, place, rows = values.unique(return_inverse=True, return_counts=True)
    enough = len(values) / most
    wide = float(distinct[-1] - distinct[0]) / most
    gaps = [0.0, *distinct.diff().tolist()]
    interval = [0] * len(rows)
    number = 0
    behind = 0
    for rank, (count, gap) in enumerate(zip(rows.tolist(), gaps, strict=True)):
        if behind and (behind >= enough or count >= enough or gap >= wide):
            number += 1
            behind = 0
        interval[rank] = number
        behind += count
    codes = torch.tensor(interval)[place]
    return runs(torch.bincount(codes), True, LEAST)[codes]


def _quantiles(values: Tensor, where: Tensor, count: int, column: Column) -> Tensor:
    """Quantiles float32 (`count`, `QUANTILES`) of the `values` (n,) of each interval `where` (n,), as leaves tell them.

    A column without values has the middle of its range.
    """
    if not len(values):
        return torch.full((count, QUANTILES), (column.low + column.high) / 2)
    everything = values.numpy()
    distinct, rows = np.unique(everything, return_counts=True)
    common = distinct[rows >= LEAST]
    parts = [everything[(where == number).numpy()] for number in range(count)]
    told = [leaves.quantiles(own, own, common, QUANTILES) for own in parts]
    return torch.from_numpy(np.stack(told).astype(np.float32)).clamp(*_range(column))
