"""Values at rest -> what a network takes, in operators that ONNX has: `Kind.to_network` again, up to rounding."""

import torch
from torch import Tensor, nn

from mosaic_fl.domains.kind import Kind
from mosaic_fl.domains.table.kind import Table
from mosaic_fl.errors import UsageError


class Pixels(nn.Module):
    """uint8 (n, c, h, w) -> float32 in −1..1."""

    def forward(self, values: Tensor) -> Tensor:
        """The pixels as networks take them."""
        return values.to(torch.float32) / 127.5 - 1.0


class Same(nn.Module):
    """Vectors as they are."""

    def forward(self, values: Tensor) -> Tensor:
        """The vectors."""
        return values.to(torch.float32)


class Rows(nn.Module):
    """float32 (n, columns), NaN where a value is missing -> (n, width), as `domains/table/encoding`.

    A number's position on its grid is a sum over the grid's steps, of which each is passed in part, whole or not at
    all. So nothing is searched for.
    """

    numbers: Tensor
    low: Tensor
    scale: Tensor
    spans: Tensor
    booleans: Tensor
    codes: Tensor
    absent: Tensor
    order: Tensor

    def __init__(self, table: Table) -> None:
        super().__init__()
        encoding = table.encoding
        low = encoding.grids[:, :-1]
        steps = encoding.grids[:, 1:] - low
        inside = steps.isfinite() & (steps > 0)
        order = [encoding.numbers_at, encoding.booleans_at, _places(encoding.codes_at, encoding.counts)]
        at = torch.cat([*order, encoding.absent_at])
        self.counts = encoding.counts
        self.sizes = [len(part) for part in (encoding.numbers, encoding.booleans, encoding.codes, encoding.absent)]
        self.register_buffer("numbers", encoding.numbers)
        self.register_buffer("low", torch.where(inside, low, 0.0))
        self.register_buffer("scale", torch.where(inside, 1 / steps.masked_fill(~inside, 1.0), 0.0))
        self.register_buffer("spans", (encoding.sizes - 1).float())
        self.register_buffer("booleans", encoding.booleans)
        self.register_buffer("codes", encoding.codes)
        self.register_buffer("absent", encoding.absent)
        self.register_buffer("order", at.argsort())

    def forward(self, values: Tensor) -> Tensor:
        """The rows as networks take them."""
        numbers, booleans, codes, absent = self.sizes
        parts = list[Tensor]()
        if numbers:
            chosen = values[:, self.numbers]
            passed = ((chosen.nan_to_num(0.0)[:, :, None] - self.low) * self.scale).clamp(0.0, 1.0).sum(2)
            parts.append(torch.where(chosen.isnan(), 0.0, passed / self.spans * 2 - 1))
        if booleans:
            chosen = values[:, self.booleans]
            parts.append(torch.where(chosen.isnan(), 0.0, chosen * 2 - 1))
        if codes:
            chosen = values[:, self.codes]
            for place, count in enumerate(self.counts):
                parts.append((chosen[:, place : place + 1] == torch.arange(count)).float())
        if absent:
            parts.append(values[:, self.absent].isnan().float())
        return torch.cat(parts, 1)[:, self.order]


def _places(starts: Tensor, counts: tuple[int, ...]) -> Tensor:
    """The positions of all codes of all columns."""
    each = [start + torch.arange(count) for start, count in zip(starts.tolist(), counts, strict=True)]
    return torch.cat(each) if each else torch.zeros(0, dtype=torch.int64)


def preparation(kind: Kind) -> nn.Module:
    """How values of a kind become a network's input; raises UsageError for a kind of another package."""
    if isinstance(kind, Table):
        return Rows(kind)
    if kind.name == "image":
        return Pixels()
    if kind.name == "vector":
        return Same()
    raise UsageError(f"samples of the kind {kind.name} are of another package, whose encoding no other program has")
