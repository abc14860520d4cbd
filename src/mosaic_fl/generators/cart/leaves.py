"""What a leaf says of its column: shares of categories; or of a number its most frequent value, and quantiles.

A most frequent value of its own keeps columns right that are 0 in most rows and large in others: quantiles alone would
spread rows over all that lies between.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mosaic_fl.domains.table import Column
from mosaic_fl.domains.table.column import NUMBERS
from mosaic_fl.errors import UsageError
from mosaic_fl.generators.cart.trees import LEAST

Floats = npt.NDArray[np.float32]
SUM_SLACK = 1e-3
SMALLEST = 1e-9  # of a share that is divided by
FREQUENT = 0.2  # share of a leaf's values from which on the most frequent one stands for itself
LOWEST = 0.05  # level of the first quantile; 1 minus it is that of the last
SPREAD = 0.04  # of levels around that of a quantile
ATOM = 2  # numbers before the quantiles: the most frequent value, and its share


def size(column: Column, quantiles: int) -> int:
    """How many numbers say what a leaf holds: one a code, or `ATOM` + `quantiles`; one more where values may lack."""
    return (ATOM + quantiles if column.type in NUMBERS else _codes(column)) + column.missing


def summarise(values: Tensor, leaves: Tensor, count: int, column: Column, quantiles: int) -> Tensor:
    """float32 (`count`, size) of `values` (n,) of the column at rest in the `leaves` (n,), each of which has some.

    Shares are of all rows of the leaf, the last of them that of missing values. The quantiles are inner ones of the
    other values, in the column's units. Where fewer than `LEAST` values of a leaf are present, it says what all leaves
    together say; where these have fewer, the column is missing. A value stands as it is where `LEAST` rows have it.
    """
    result = torch.zeros(count, size(column, quantiles))
    absent = values.isnan()
    there = values[~absent]
    here = leaves[~absent] if len(there) >= LEAST else leaves[:0]
    there = there[: len(here)]
    rows = torch.bincount(leaves, minlength=count).clamp(min=1)
    present = torch.bincount(here, minlength=count)
    shares = present / rows
    if column.missing:
        result[:, -1] = 1 - shares
    few = present < LEAST
    if column.type not in NUMBERS:
        codes = _codes(column)
        cells = torch.bincount(here * codes + there.long(), minlength=count * codes).view(count, codes)
        cells[few] = cells.sum(0)
        result[:, :codes] = cells / cells.sum(1, keepdim=True).clamp(min=1) * shares[:, None]
        return result
    everything = there.numpy().clip(np.float32(column.low), np.float32(column.high))
    distinct, counts = np.unique(everything, return_counts=True)
    common = distinct[counts >= LEAST]
    for leaf in range(count):
        mine = everything if few[leaf] else everything[(here == leaf).numpy()]
        numbers = _numbers(mine, everything, common, quantiles, (column.low + column.high) / 2)
        numbers[1] *= float(shares[leaf])
        result[leaf, : ATOM + quantiles] = torch.from_numpy(numbers.astype(np.float32))
    return result


def _numbers(values: Floats, everything: Floats, common: Floats, count: int, middle: float) -> npt.NDArray[np.float64]:
    """The most frequent of the `values`, its share of them, and quantiles of the others; `middle` without any.

    It stands for itself where it is one of `common`, the values of `everything` that `LEAST` rows and more have.
    """
    if not len(values):
        return np.array([middle, 0.0, *np.full(count, middle)])
    distinct, counts = np.unique(values, return_counts=True)
    most = int(counts.argmax())
    atom = distinct[most]
    if counts[most] <= max(1, FREQUENT * len(values)) or atom not in common:
        return np.array([middle, 0.0, *quantiles(values, values, common, count)])
    others = values[values != atom]
    many = others if len(others) >= LEAST else everything[everything != atom]
    if not len(others) or len(many) < LEAST:
        return np.array([atom, 1.0, *np.full(count, atom)])
    return np.array([atom, counts[most] / len(values), *quantiles(others, many, common, count)])


def quantiles(values: Floats, many: Floats, common: Floats, count: int) -> npt.NDArray[np.float64]:
    """Quantiles from the least to the greatest, of which only those that are `common` values stand as they are.

    Any other one may be the value of one row. In its place is the mean of two quantiles of `many` values, which are
    `LEAST` at least, a little below and above a level that is no end.
    """
    exact = np.quantile(values, np.linspace(0, 1, count), method="nearest")
    levels = np.linspace(LOWEST, 1 - LOWEST, count)
    around = np.quantile(many.astype(np.float64), [levels - SPREAD, levels + SPREAD]).mean(0)
    mixed = np.where(np.isin(exact, common), exact.astype(np.float64), around)
    return np.maximum.accumulate(mixed)


def draw(summary: Tensor, u: Tensor, column: Column) -> Tensor:
    """A value at rest, float32 (n,), for each row of `summary` (n, size) and each uniform `u` (n,) in 0..1.

    Numbers are the most frequent one, or drawn evenly between neighbouring quantiles, each gap as likely as another;
    whole ones are rounded.
    """
    lacks = summary[:, -1] if column.missing else torch.zeros_like(u)
    if column.type in NUMBERS:
        values = _draw_number(summary[:, : summary.shape[1] - column.missing], u - lacks, 1 - lacks)
        values = values.round() if column.type == "whole" else values
    else:
        ends = summary[:, : _codes(column)].cumsum(1)
        v = ((u - lacks) / (1 - lacks).clamp(min=SMALLEST)).clamp(0, 1)
        picked = torch.searchsorted(ends.contiguous(), v[:, None] * ends[:, -1:], right=True).flatten()
        codes = torch.arange(ends.shape[1], device=u.device)
        last = ((summary[:, : _codes(column)] > 0) * codes).amax(1)  # rounding may pass the last end
        values = torch.minimum(picked, last).float()
    return values.masked_fill(u < lacks, torch.nan)


def _draw_number(numbers: Tensor, u: Tensor, most: Tensor) -> Tensor:
    """The most frequent one where `u` (n,) is below its share; else one between quantiles, by `u` up to `most`."""
    share = numbers[:, 1]
    quantiles = numbers[:, ATOM:]
    steps = ((u - share) / (most - share).clamp(min=SMALLEST)).clamp(0, 1) * (quantiles.shape[1] - 1)
    left = steps.long().clamp(max=quantiles.shape[1] - 2)
    low, high = (quantiles.gather(1, (left + more)[:, None]).flatten() for more in (0, 1))
    between = torch.minimum(torch.maximum(low + (steps - left) * (high - low), low), high)
    return torch.where(u < share, numbers[:, 0], between)


def check(summaries: Tensor, column: Column) -> None:
    """Raise UsageError unless `summaries` (leaves, size), which may come from anywhere, say what leaves can hold."""
    name = f"the generator's leaves of column {column.name!r}"
    if not bool(summaries.isfinite().all()):
        raise UsageError(f"{name} have numbers that are not finite")
    lacks = summaries[:, -1:] if column.missing else summaries[:, :0]
    parts = summaries[:, : summaries.shape[1] - column.missing]
    is_number = column.type in NUMBERS
    shares = torch.cat([parts[:, 1:ATOM] if is_number else parts, lacks], 1)
    total = shares.sum(1)
    if bool((shares < 0).any()) or bool((total > 1 + SUM_SLACK).any()):
        raise UsageError(f"{name} have shares below 0 or above 1")
    if is_number:
        values = torch.cat([parts[:, :1], parts[:, ATOM:]], 1)
        inside = (values >= np.float32(column.low)) & (values <= np.float32(column.high))
        if not bool(inside.all()) or bool((parts[:, ATOM:].diff(dim=1) < 0).any()):
            raise UsageError(f"{name} have quantiles out of its range, or that do not increase")
    elif bool((total < 1 - SUM_SLACK).any()):
        raise UsageError(f"{name} have shares that do not sum to 1")


def _codes(column: Column) -> int:
    return len(column.categories) or 2
