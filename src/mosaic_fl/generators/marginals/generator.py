"""The generator: the cells of each column and what its bins hold; its state, its checks, its draws."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.table.column import NUMBERS
from mosaic_fl.errors import UsageError
from mosaic_fl.generators.base import GeneratorSpec
from mosaic_fl.generators.cart.trees import LEAST
from mosaic_fl.generators.class_groups import class_groups
from mosaic_fl.generators.marginals import bins
from mosaic_fl.generators.marginals.structure import NONE, PARENTS
from mosaic_fl.generators.picking import pick, uniform
from mosaic_fl.generators.rows import RowGenerator
from mosaic_fl.numerics.states import State

MOST_CELLS = 2**16 - 1  # of a column: its numbers are written in two bytes
MOST_CONFIGURATIONS = 2**20  # of groups and parents, of all columns of a received state
OWN_ROWS = 10  # of a class from which on it has a group of its own
MOST_GROUPS = 256  # of classes
SUM_SLACK = 1e-3


class Marginals(RowGenerator):
    """p(x | y) = Π_j p(bin_j | bins of its parents, group of y) · p(x_j | bin_j).

    `group` int64 (C,) is the group of each class. Of each column j of D: `order` int64 (D,) is the j-th column that is
    drawn, `parents` int64 (D, 2) its parents, `bins` int64 (D,) the number of its bins and `cells` int64 (D,) that of
    its cells. `cell` uint8 (N, 2), the lower byte first, is the cell of each configuration, of the groups by the bins
    of the first parent by those of the second; `share` float32 the shares of a column's bins in each cell; `values`
    float32 what each bin of a number holds. They follow each other, column after column in the order of the schema.
    `width` in the specification is the most bins of a number.
    """

    group: Tensor
    order: Tensor
    parents: Tensor
    bins: Tensor
    cells: Tensor
    cell: Tensor
    share: Tensor
    values: Tensor

    def __init__(self, spec: GeneratorSpec, schema: Schema) -> None:
        """One group without parents; raises UsageError for a specification that does not fit the schema."""
        super().__init__(spec, schema)
        columns = self.table.columns
        if spec.latent != len(columns):
            raise UsageError(
                f"a marginals generator of {spec.latent} columns, where the schema has {len(columns)} columns"
            )
        least = [bins.most_of(column, 1) for column in columns]
        self.register_buffer("group", torch.zeros(schema.num_classes, dtype=torch.int64))
        self.register_buffer("order", torch.arange(len(columns)))
        self.register_buffer("parents", torch.full((len(columns), PARENTS), NONE, dtype=torch.int64))
        self.register_buffer("bins", torch.tensor(least))
        self.register_buffer("cells", torch.ones(len(columns), dtype=torch.int64))
        self.resize([1] * len(columns), [1] * len(columns), least)

    def resize(self, configurations: Sequence[int], cells: Sequence[int], sizes: Sequence[int]) -> None:
        """Make room for columns of so many configurations, cells and bins, of which nothing is told yet."""
        device = self.group.device
        shares = sum(cell * size for cell, size in zip(cells, sizes, strict=True))
        self.register_buffer("cell", torch.zeros(sum(configurations), 2, dtype=torch.uint8, device=device))
        self.register_buffer("share", torch.zeros(shares, device=device))
        self.register_buffer("values", torch.zeros(sum(self._numbers(sizes)), device=device))

    def _numbers(self, sizes: Sequence[int]) -> list[int]:
        """By column how many numbers say what its bins hold."""
        return [bins.numbers_of(column, size) for column, size in zip(self.table.columns, sizes, strict=True)]

    def fit_to(self, state: State) -> Self:
        """As `Generator.fit_to`; raises UsageError for tables that are too large, or that do not fit together."""
        parts = ("group", "order", "parents", "bins", "cells")
        plain = {name: state[name] for name in parts if name in state}
        fits = [plain[name].shape == getattr(self, name).shape for name in plain]
        if len(fits) < len(parts) or not all(fits) or any(t.dtype != torch.int64 for t in plain.values()):
            return self  # the check of names, shapes and types says so
        sizes = self._bins(plain["bins"])
        groups = self._groups(plain["group"])
        _require_order(plain["order"], plain["parents"])
        cells = plain["cells"]
        if bool((cells < 1).any()) or bool((cells > MOST_CELLS).any()):
            raise UsageError(f"the generator has a column without cells, or with more than {MOST_CELLS:,}")
        configurations = _configurations(groups, plain["parents"], sizes)
        if sum(configurations) > MOST_CONFIGURATIONS:
            raise UsageError(
                f"the generator has {sum(configurations):,} configurations of parents: at most "
                f"{MOST_CONFIGURATIONS:,} are used"
            )
        shares = sum(cell * size for cell, size in zip(cells.tolist(), sizes, strict=True))
        needs = {"cell": 2 * sum(configurations), "share": shares, "values": sum(self._numbers(sizes))}
        for name, count in needs.items():  # no room beyond the file's size
            if name in state and state[name].numel() != count:
                raise UsageError(f"the generator has {state[name].numel():,} numbers of {name!r} where {count:,} fit")
        self.resize(configurations, cells.tolist(), sizes)
        return self

    def _bins(self, sizes: Tensor) -> list[int]:
        """The number of bins by column; raises UsageError where a column cannot have as many."""
        for column, size in zip(self.table.columns, sizes.tolist(), strict=True):
            if not bins.most_of(column, 1) <= size <= bins.most_of(column, self.spec.width):
                raise UsageError(f"the generator has {size} bins of column {column.name!r}, which cannot be")
        return [int(size) for size in sizes.tolist()]

    def _groups(self, group: Tensor) -> int:
        if bool((group < 0).any()) or bool((group >= min(len(group), MOST_GROUPS)).any()):
            raise UsageError("the generator has a class without a group")
        return int(group.max()) + 1

    def expect(self, counts: Sequence[int]) -> Self:
        """As `Generator.expect`: as many cells as the rows can fill."""
        rows = sum(counts)
        held = torch.tensor(list(counts), dtype=torch.int64, device="cpu")  # a reader of sizes is on the meta device
        with torch.device("cpu"):
            groups = int(class_groups(held, OWN_ROWS, MOST_GROUPS, LEAST).max()) + 1 if counts else 1
        numbers = min(self.spec.width, bins.SORTS * (rows // bins.ROWS_A_BIN) + 1)
        sizes = [bins.most_of(column, numbers) for column in self.table.columns]
        most = max(groups, rows)
        self.resize([most] * len(sizes), [max(1, rows // LEAST)] * len(sizes), sizes)
        return self

    def check(self) -> None:
        """As `Generator.check`: for shares and values that no rows can have."""
        if not bool(self.share.isfinite().all()) or bool((self.share < 0).any()):
            raise UsageError("the generator has shares below 0, or not finite")
        for column, cell, share, values in zip(self.table.columns, *self._parts(), strict=True):
            if bool((cell >= len(share)).any()):
                raise UsageError(f"the generator has a configuration of column {column.name!r} without a cell")
            if float((share.sum(1) - 1).abs().max()) > SUM_SLACK:
                raise UsageError(f"the generator has shares of column {column.name!r} that do not sum to 1")
            if column.type in NUMBERS:
                bins.check(values, column)

    def _parts(self) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """By column the cell of each configuration int64, the shares (cells, bins) and the bins' values, on the CPU."""
        sizes = self.bins.tolist()
        counts = self.cells.tolist()
        configurations = _configurations(int(self.group.max()) + 1, self.parents, sizes)
        numbers = self.cell.cpu().long()
        cell = list((numbers[:, 0] + 256 * numbers[:, 1]).split(configurations))
        shares = self.share.cpu().split([count * size for count, size in zip(counts, sizes, strict=True)])
        share = [part.view(-1, size) for part, size in zip(shares, sizes, strict=True)]
        values = [part.view(-1, bins.QUANTILES) for part in self.values.cpu().split(self._numbers(sizes))]
        return cell, share, values

    def rows(self, z: Tensor, labels: Tensor) -> Tensor:
        """Rows at rest, float32 (n, D), on the CPU; `z` (n, D) standard normal, `labels` (n,)."""
        u = uniform(z.cpu())
        group = self.group.cpu()[labels.cpu()]
        sizes = self.bins.tolist()
        parents = self.parents.tolist()
        values = torch.empty(u.shape)
        codes = torch.zeros(u.shape, dtype=torch.int64)
        parts = list(zip(self.table.columns, *self._parts(), strict=True))
        for place in self.order.tolist():
            column, cell, share, inside = parts[place]
            at = group
            for parent in parents[place]:
                if parent != NONE:
                    at = at * sizes[parent] + codes[:, parent]
            codes[:, place], level = pick(share[cell[at]], u[:, place])
            values[:, place] = bins.draw(codes[:, place], inside, level, column, sizes[place])
        return values

    def one_pass(self) -> tuple[nn.Module, tuple[Tensor, ...], int]:
        """As `Generator.one_pass`: the pick of a bin, one a column."""
        most = max(bins.most_of(column, self.spec.width) for column in self.table.columns)
        share = torch.zeros(2, most, device=self.device)
        return _Pick(), (share, torch.zeros(2, device=self.device)), len(self.table.columns)


class _Pick(nn.Module):
    """`pick`, as a module whose work is measured."""

    def forward(self, share: Tensor, u: Tensor) -> Tensor:
        return pick(share, u)[0]


def _configurations(groups: int, parents: Tensor, sizes: Sequence[int]) -> list[int]:
    """By column the number of configurations of its group and parents."""
    result = list[int]()
    for own in parents.tolist():
        count = groups
        for parent in own:
            count = count * (1 if parent == NONE else sizes[parent])
        result.append(count)
    return result


def _require_order(order: Tensor, parents: Tensor) -> None:
    """Raise UsageError unless `order` has each column once, and each column's parents are drawn before it."""
    places = order.tolist()
    if sorted(places) != list(range(len(places))):
        raise UsageError("the generator's order does not have each column once")
    drawn = set[int]()
    for place in places:
        for parent in parents[place].tolist():
            if parent != NONE and parent not in drawn:
                raise UsageError("the generator has a column that is drawn before its parent")
        drawn.add(place)
