"""Rows at rest -> the numbers that a network takes, and back: quantile positions, one-hot codes, indicators.

It is torch, and not scikit-learn's transformers: the schema may be received, and a pool is turned back on its device.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.domains.table.column import NUMBERS, Column


@dataclass(frozen=True)
class Encoding:
    """Where the columns' values stand in a network's input of `width` numbers.

    Each `…_at` holds positions in the input, for the columns of the tensor beside it. `grids` (m, k) are the numbers'
    grids, padded with infinity; `sizes` (m,) are their lengths. `whole` (m,) says which numbers are whole.
    """

    width: int
    numbers: Tensor
    numbers_at: Tensor
    grids: Tensor
    sizes: Tensor
    whole: Tensor
    booleans: Tensor
    booleans_at: Tensor
    codes: Tensor
    codes_at: Tensor
    counts: tuple[int, ...]
    absent: Tensor
    absent_at: Tensor

    def to(self, device: torch.device) -> "Encoding":
        """The encoding on `device`."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        tensors: dict[str, Any] = {
            name: value.to(device) for name, value in values.items() if isinstance(value, Tensor)
        }
        return replace(self, **tensors)

    def encode(self, values: Tensor) -> Tensor:
        """float32 (n, columns) at rest -> float32 (n, width), on the device of the encoding."""
        absent = values.isnan()
        filled = values.nan_to_num(0.0)
        inputs = torch.zeros(len(values), self.width, device=values.device)
        if len(self.numbers):
            positions = self._positions(filled[:, self.numbers])
            inputs[:, self.numbers_at] = positions.masked_fill(absent[:, self.numbers], 0.0)
        if len(self.booleans):
            signs = filled[:, self.booleans] * 2 - 1
            inputs[:, self.booleans_at] = signs.masked_fill(absent[:, self.booleans], 0.0)
        if len(self.codes):
            places = self.codes_at + filled[:, self.codes].long()
            inputs.scatter_(1, places, (~absent[:, self.codes]).float())
        if len(self.absent):
            inputs[:, self.absent_at] = absent[:, self.absent].float()
        return inputs

    def decode(self, outputs: Tensor, columns: int) -> Tensor:
        """Float (n, width) of a generator -> the nearest rows at rest, float32 (n, `columns`)."""
        outputs = outputs.to(torch.float32).nan_to_num(0.0)
        values = torch.zeros(len(outputs), columns, device=outputs.device)
        if len(self.numbers):
            numbers = self._numbers(outputs[:, self.numbers_at])
            values[:, self.numbers] = torch.where(self.whole, numbers.round(), numbers)
        if len(self.booleans):
            values[:, self.booleans] = (outputs[:, self.booleans_at] > 0).float()
        for column, start, count in zip(self.codes.tolist(), self.codes_at.tolist(), self.counts, strict=True):
            values[:, column] = outputs[:, start : start + count].argmax(1).float()
        if len(self.absent):
            missing = outputs[:, self.absent_at] > 0.5
            values[:, self.absent] = values[:, self.absent].masked_fill(missing, torch.nan)
        return values

    def _positions(self, numbers: Tensor) -> Tensor:
        """Numbers (n, m) in the data's units -> their positions on the grids, −1..1; clamped."""
        across = numbers.T.contiguous()
        last = (self.sizes - 2).unsqueeze(1)
        left = torch.minimum(torch.searchsorted(self.grids, across, right=True).sub_(1).clamp_(min=0), last)
        below = self.grids.gather(1, left)
        share = ((across - below) / (self.grids.gather(1, left + 1) - below)).clamp_(0, 1)
        return ((left + share) / (last + 1) * 2 - 1).T

    def _numbers(self, positions: Tensor) -> Tensor:
        """The inverse of `_positions`."""
        last = (self.sizes - 2).unsqueeze(1)
        steps = (positions.T.clamp(-1, 1) + 1) / 2 * (last + 1)
        left = torch.minimum(steps.long(), last)
        below = self.grids.gather(1, left)
        return (below + (steps - left) * (self.grids.gather(1, left + 1) - below)).T


def encoding_of(columns: Sequence[Column]) -> Encoding:
    """The encoding of rows of these columns."""
    starts = list[int]()
    width = 0
    for column in columns:
        starts.append(width)
        width += column.width
    numbers = [i for i, column in enumerate(columns) if column.type in NUMBERS]
    booleans = [i for i, column in enumerate(columns) if column.type == "boolean"]
    codes = [i for i, column in enumerate(columns) if column.type == "category"]
    absent = [i for i, column in enumerate(columns) if column.missing]
    grids = [torch.tensor(columns[i].grid, dtype=torch.float32) for i in numbers]
    padded = torch.nn.utils.rnn.pad_sequence(grids, True, torch.inf) if grids else torch.zeros(0, 0)

    def places(which: list[int]) -> Tensor:
        return torch.tensor([starts[i] for i in which], dtype=torch.int64)

    def whole(which: list[int]) -> Tensor:
        return torch.tensor(which, dtype=torch.int64)

    return Encoding(
        width=width,
        numbers=whole(numbers),
        numbers_at=places(numbers),
        grids=padded,
        sizes=whole([len(grid) for grid in grids]),
        whole=torch.tensor([columns[i].type == "whole" for i in numbers], dtype=torch.bool),
        booleans=whole(booleans),
        booleans_at=places(booleans),
        codes=whole(codes),
        codes_at=places(codes),
        counts=tuple(len(columns[i].categories) for i in codes),
        absent=whole(absent),
        absent_at=whole([starts[i] + columns[i].width - 1 for i in absent]),
    )
