"""What a client's rows are before trees read them: no value that fewer than ten rows have, none beyond the tenth.

Rare categories and outliers are what tells a person apart. They are coded away as offices of statistics do: rare codes
are absent or the most frequent one, and numbers end at the tenth smallest and the tenth greatest.
"""

import numpy as np
import torch
from torch import Tensor

from mosaic_fl.domains.table import Column
from mosaic_fl.domains.table.column import NUMBERS
from mosaic_fl.errors import UsageError
from mosaic_fl.generators.cart.trees import LEAST

MOST_CODES = 64  # values of a number that are told one by one
COVER = 0.9  # share of a number's values beside the most frequent one that such values have to be


def coarsen(values: Tensor, column: Column) -> Tensor:
    """The `values` (n,) at rest of a column of a client, float32 (n,), n at least `LEAST`."""
    present = values[~values.isnan()]
    if len(present) < LEAST:
        return torch.full_like(values, torch.nan)
    if column.type in NUMBERS:
        if len(present) < 2 * LEAST:
            return torch.where(values.isnan(), values, present.mean())
        ordered = present.sort().values
        return values.clamp(float(ordered[LEAST - 1]), float(ordered[-LEAST]))
    codes, counts = present.unique(return_counts=True)
    other = torch.nan if column.missing else float(codes[counts.argmax()])
    rare = torch.isin(values, codes[counts < LEAST])
    return values.masked_fill(rare, other)


def told_rows(values: Tensor, columns: tuple[Column, ...]) -> Tensor:
    """The rows at rest, float32 (n, D), of which a generator may tell: each column coarse, or public rows for few."""
    if len(values) < LEAST:
        return public_rows(columns)
    return torch.stack([coarsen(own, column) for own, column in zip(values.T, columns, strict=True)], 1)


def common_values(values: Tensor, column: Column) -> Tensor:
    """The values that a column of numbers has in nearly all rows, float32 (k,) in ascending order; (0,) for others.

    Each of them is in `LEAST` of the rows (n,) or more. So their shares tell of nobody, and keep what quantiles lose:
    how often a whole number comes. Where most rows have one value, as 0, these are nearly all of the other rows, too.
    """
    present = values[~values.isnan()]
    if column.type not in NUMBERS or not len(present):
        return torch.zeros(0)
    distinct, counts = present.unique(return_counts=True)
    is_common = counts >= LEAST
    most = int(counts.max())
    covers = int(counts[is_common].sum()) - most >= COVER * (len(present) - most)
    return distinct[is_common] if covers and int(is_common.sum()) <= MOST_CODES else torch.zeros(0)


def nearest(values: Tensor, codes: Tensor) -> Tensor:
    """The number of the nearest of `codes` (k,), ascending, for each of `values` (n,); NaN stays."""
    ends = (codes[1:] + codes[:-1]) / 2
    numbers = torch.bucketize(values.nan_to_num(0.0), ends).float()
    return numbers.masked_fill(values.isnan(), torch.nan)


def decode(numbers: Tensor, codes: Tensor) -> Tensor:
    """The inverse of `nearest` for `codes`: the value of each number (n,), NaN for NaN."""
    return codes[numbers.nan_to_num(0.0).long()].masked_fill(numbers.isnan(), torch.nan)


def check_codes(codes: Tensor, column: Column) -> None:
    """Raise UsageError unless `codes` (k,), which may come from anywhere, are ascending values of the column."""
    values = codes.cpu()
    inside = (values >= np.float32(column.low)) & (values <= np.float32(column.high))
    if not bool(inside.all()) or bool((values.diff() <= 0).any()):
        raise UsageError(f"the generator's codes of column {column.name!r} are out of its range, or do not increase")


def public_rows(columns: tuple[Column, ...]) -> Tensor:
    """`LEAST` rows at rest, float32 (`LEAST`, D), that spread over what the schema allows and tell of no data."""
    return torch.stack([_public(column) for column in columns], 1)


def _public(column: Column) -> Tensor:
    if column.type in NUMBERS:
        spread = np.quantile(np.array(column.knots), np.linspace(0, 1, LEAST))
        values = torch.from_numpy(spread.astype(np.float32))
        return values.round() if column.type == "whole" else values
    return (torch.arange(LEAST) % (len(column.categories) or 2)).float()
