"""What a leaf says of its column, as a few numbers: shares of categories or quantiles, and the share of missing values."""

import numpy as np
import torch
from torch import Tensor

from mosaic_fl.domains.table import Column
from mosaic_fl.domains.table.column import NUMBERS
from mosaic_fl.errors import UsageError

SUM_SLACK = 1e-3


def size(column: Column, quantiles: int) -> int:
    """How many numbers say what a leaf holds: one a code, or `quantiles`; one more where a value may be missing."""
    return (quantiles if column.type in NUMBERS else _codes(column)) + column.missing


def summarise(values: Tensor, leaves: Tensor, count: int, column: Column, quantiles: int) -> Tensor:
    """float32 (`count`, size) of `values` (n,) of the column at rest in the `leaves` (n,), each of which has some.

    Quantiles are those of the values that are there, in the column's units, from the least to the greatest. Where all
    are missing they are those of all leaves, or else the middle of the column's range.
    """
    result = torch.zeros(count, size(column, quantiles))
    absent = values.isnan()
    rows = torch.bincount(leaves, minlength=count).clamp(min=1)
    if column.missing:
        result[:, -1] = torch.bincount(leaves[absent], minlength=count) / rows
    here = leaves[~absent]
    there = values[~absent]
    if column.type not in NUMBERS:
        codes = _codes(column)
        cells = torch.bincount(here * codes + there.long(), minlength=count * codes).view(count, codes)
        result[:, :codes] = cells / rows[:, None]
        return result
    levels = np.linspace(0, 1, quantiles)
    middle = torch.full((1,), (column.low + column.high) / 2)
    fallback = _quantiles(there if len(there) else middle, levels, column)
    for leaf in range(count):
        mine = there[here == leaf]
        result[leaf, :quantiles] = _quantiles(mine, levels, column) if len(mine) else fallback
    return result


def draw(summary: Tensor, u: Tensor, column: Column) -> Tensor:
    """A value at rest, float32 (n,), for each row of `summary` (n, size) and each uniform `u` (n,) in 0..1.

    Numbers are drawn evenly between neighbouring quantiles, each gap as likely as another; whole ones are rounded.
    """
    lacks = summary[:, -1] if column.missing else torch.zeros_like(u)
    parts = summary[:, :-1] if column.missing else summary
    absent = u < lacks
    v = ((u - lacks) / (1 - lacks).clamp(min=1e-9)).clamp(0, 1)
    if column.type in NUMBERS:
        steps = v * (parts.shape[1] - 1)
        left = steps.long().clamp(max=parts.shape[1] - 2)
        ends = [parts.gather(1, (left + more)[:, None]).flatten() for more in (0, 1)]
        values = ends[0] + (steps - left) * (ends[1] - ends[0])
        values = torch.minimum(torch.maximum(values, ends[0]), ends[1])
        values = values.round() if column.type == "whole" else values
    else:
        ends_of = parts.cumsum(1)
        total = ends_of[:, -1:]
        last = (parts > 0).long() * torch.arange(parts.shape[1], device=parts.device)  # rounding may pass the last end
        picked = torch.searchsorted(ends_of.contiguous(), v[:, None] * total, right=True).flatten()
        values = torch.minimum(picked, last.amax(1)).float()
    return values.masked_fill(absent, torch.nan)


def check(summaries: Tensor, column: Column) -> None:
    """Raise UsageError unless `summaries` (leaves, size), which may come from anywhere, say what leaves can hold."""
    lacks = summaries[:, -1] if column.missing else torch.zeros(len(summaries))
    parts = summaries[:, :-1] if column.missing else summaries
    name = f"the generator's leaves of column {column.name!r}"
    if not bool(summaries.isfinite().all()) or bool(((lacks < 0) | (lacks > 1)).any()):
        raise UsageError(f"{name} have numbers that are no shares or values")
    if column.type in NUMBERS:
        inside = (parts >= np.float32(column.low)) & (parts <= np.float32(column.high))
        if not bool(inside.all()) or bool((parts.diff(dim=1) < 0).any()):
            raise UsageError(f"{name} have quantiles out of its range, or that do not increase")
        return
    if bool((parts < 0).any()) or bool(((parts.sum(1) + lacks - 1).abs() > SUM_SLACK).any()):
        raise UsageError(f"{name} have shares that do not sum to 1")


def _codes(column: Column) -> int:
    return len(column.categories) or 2


def _quantiles(values: Tensor, levels: "np.typing.NDArray[np.float64]", column: Column) -> Tensor:
    inside = values.double().clamp(float(np.float32(column.low)), float(np.float32(column.high)))
    return torch.from_numpy(np.quantile(inside.numpy(), levels)).float()
