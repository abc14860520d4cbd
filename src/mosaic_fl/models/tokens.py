"""`tokens:WIDTH:DEPTH:GROUPS`, a multilayer perceptron on tokens of a table's columns.

A number comes as piecewise-linear pieces of its quantile position, so a unit can bend at quantiles; a category as a
learnt vector (Gorishniy, Rubachev & Babenko 2022, sections 3.2 and 3.4).
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.table import Table
from mosaic_fl.errors import UsageError
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.norms import norm
from mosaic_fl.models.registry import family

PIECES = 8  # of a number's positions −1..1
TOKEN = 8  # values of a column's token


class Pieces(nn.Module):
    """Tokens of `count` numbers: each piece of a number's positions fills up from 0 to 1, then a layer of its own."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(count, PIECES, TOKEN))
        self.bias = nn.Parameter(torch.zeros(count, TOKEN))
        nn.init.uniform_(self.weight, -(PIECES**-0.5), PIECES**-0.5)  # as nn.Linear begins

    def forward(self, positions: Tensor) -> Tensor:
        """Tokens float32 (n, count · `TOKEN`) of `positions` (n, count) in −1..1."""
        filled = pieces(positions)
        return F.relu(torch.einsum("nmp,mpt->nmt", filled, self.weight) + self.bias).flatten(1)


def pieces(positions: Tensor) -> Tensor:
    """How much of each piece lies below a position: (n, count, `PIECES`) in 0..1, of `positions` (n, count)."""
    steps = (positions[..., None] + 1) / 2 * PIECES
    return (steps - torch.arange(PIECES, device=positions.device)).clamp(0, 1)


@family("tokens")
class Tokens(Classifier):
    """A token a column, then `depth` fully connected hidden layers of `width` units with batch norm and ReLU.

    With `groups` above 0 it has group norm. Truth values and indicators of what is missing come as they are.
    """

    def __init__(self, schema: Schema, width: int = 128, depth: int = 2, groups: int = 0) -> None:
        """Raises UsageError for samples that are no rows of a table."""
        super().__init__()
        table = schema.kind
        if not isinstance(table, Table):
            raise UsageError(f"model tokens takes rows of a table, not {table.summary}: mlp takes samples of any shape")
        encoding = table.encoding
        self.numbers_at: list[int] = encoding.numbers_at.tolist()
        self.blocks = list(zip(encoding.codes_at.tolist(), encoding.counts, strict=True))
        self.plain_at: list[int] = [*encoding.booleans_at.tolist(), *encoding.absent_at.tolist()]
        count = len(self.numbers_at)
        self.numbers = Pieces(count) if count else None  # a weight without values could not learn
        self.categories = nn.ModuleList(nn.Linear(size, TOKEN, bias=False) for _, size in self.blocks)
        sizes = [TOKEN * (count + len(self.blocks)) + len(self.plain_at), *[width] * depth]
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after, bias=False), norm(after, groups, 1), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(width, schema.num_classes)

    def tokens(self, inputs: Tensor) -> Tensor:
        """All columns' tokens side by side, for rows in the form of a network, float32 (n, width of the table)."""
        parts = [inputs[:, self.plain_at]]
        if self.numbers is not None:
            parts.append(self.numbers(inputs[:, self.numbers_at]))
        for layer, (start, size) in zip(self.categories, self.blocks, strict=True):
            parts.append(layer(inputs[:, start : start + size]))
        return torch.cat(parts, 1)

    def features(self, inputs: Tensor) -> Tensor:
        hidden: Tensor = self.body(self.tokens(inputs))
        return hidden
