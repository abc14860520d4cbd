"""The bins of boosting by histograms: cuts of each value of a row, which all sites compute alike from the schema."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.table import Column, Table
from mosaic_fl.domains.table.column import NUMBERS
from mosaic_fl.errors import UsageError


@dataclass(frozen=True)
class Bins:
    """Cuts of the F values of a row as a network takes it; a value's bin is the number of its cuts that are not above.

    `cuts` (F, most) float32 are increasing, padded with infinity. Value f has bins `starts[f]` to `starts[f + 1]` − 1
    of all `total` bins; `starts` int64 (F + 1,).
    """

    cuts: Tensor
    starts: Tensor

    @property
    def total(self) -> int:
        """The number of all bins."""
        return int(self.starts[-1])

    def codes(self, inputs: Tensor) -> Tensor:
        """The bins int64 (n, F) of rows float32 (n, F), numbered over all values."""
        own = torch.searchsorted(self.cuts, inputs.T.contiguous(), right=True).T
        return own + self.starts[:-1]


@lru_cache(maxsize=8)
def bins_of(schema: Schema, most: int) -> Bins:
    """About `most` bins of a number, equally many between any two of its knots, which are quantiles.

    A whole number has no more bins than values. A truth value and a category have a bin for each of their codes.
    Raises UsageError for samples that are no rows of tables.
    """
    cuts = list[Tensor]()
    for kind in schema.fields.values():
        if not isinstance(kind, Table):
            raise UsageError(
                f"histograms are of rows of a table, not of {schema.summary}: take federated_bagging or mosaic"
            )
        for column in kind.columns:
            cuts += _cuts(column, most)
    padded = torch.nn.utils.rnn.pad_sequence(cuts, True, torch.inf)
    counts = torch.tensor([0, *(len(cut) + 1 for cut in cuts)])
    return Bins(padded, counts.cumsum(0))


def _cuts(column: Column, most: int) -> list[Tensor]:
    """The cuts of each value that a column has in a network."""
    half = torch.tensor([0.5])
    if column.type == "category":
        values = [half] * len(column.categories)
    elif column.type == "boolean":
        values = [torch.tensor([-0.5, 0.5]) if column.missing else torch.zeros(1)]
    else:
        assert column.type in NUMBERS
        values = [_number_cuts(column, most)]
    return [*values, half] if column.missing else values


def _number_cuts(column: Column, most: int) -> Tensor:
    """Half-way between neighbours on the column's grid, each of whose intervals is divided into equal parts.

    So no value that lies on the grid lies on a cut, where rounding would decide.
    """
    grid = torch.tensor(column.grid, dtype=torch.float64)
    intervals = len(grid) - 1
    parts = torch.full((intervals,), max(1, most // intervals))
    if column.type == "whole":
        parts = parts.minimum(grid.diff().ceil().long()).clamp(min=1)
    width = 2 / intervals
    inner = [
        -1 + width * (number + torch.arange(count, dtype=torch.float64) / count)
        for number, count in enumerate(parts.tolist())
    ]
    points = torch.cat([*inner, torch.ones(1, dtype=torch.float64)])
    return ((points[1:] + points[:-1]) / 2).float()
