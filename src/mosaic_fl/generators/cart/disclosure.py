"""What a client's rows are before trees read them: no value that fewer than ten rows have, none beyond the tenth.

Rare categories and outliers are what tells a person apart. They are coded away as offices of statistics do: rare codes
are absent or the most frequent one, and numbers end at the tenth smallest and the tenth greatest.
"""

import numpy as np
import torch
from torch import Tensor

from mosaic_fl.domains.table import Column
from mosaic_fl.domains.table.column import NUMBERS
from mosaic_fl.generators.cart.trees import LEAST


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


def public_rows(columns: tuple[Column, ...]) -> Tensor:
    """`LEAST` rows at rest, float32 (`LEAST`, D), that spread over what the schema allows and tell of no data."""
    return torch.stack([_public(column) for column in columns], 1)


def _public(column: Column) -> Tensor:
    if column.type in NUMBERS:
        spread = np.quantile(np.array(column.knots), np.linspace(0, 1, LEAST))
        values = torch.from_numpy(spread.astype(np.float32))
        return values.round() if column.type == "whole" else values
    return (torch.arange(LEAST) % (len(column.categories) or 2)).float()
