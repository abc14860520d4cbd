"""Counts of rows, and the cells that are told of them: each row counts in one cell, and each cell has `least` rows.

All that `marginals` tells of how columns hang together is a function of `count`'s result, so noise on counts is noise
on everything: `pool` and what follows see nothing else of the rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def count(group: Tensor, parents: Sequence[Tensor], codes: Tensor, sizes: Sequence[int]) -> Tensor:
    """Rows by group of classes, bins of the two parents and own bin: int64 of the four `sizes`.

    `group`, both `parents` and `codes` are int64 (n,). A parent that is none has one bin, 0.
    """
    at = group
    for part, size in zip((*parents, codes), sizes[1:], strict=True):
        at = at * size + part
    total = sizes[0] * sizes[1] * sizes[2] * sizes[3]
    return torch.bincount(at, minlength=total).view(*sizes)


def runs(rows: Tensor, natural: bool, least: int) -> Tensor:
    """The run of each bin, int64 (m,), by its `rows` (m,): neighbours are joined until `least` rows stand in each run.

    Where the bins have no natural order, those with the fewest rows are neighbours. The last ones join the run before
    where they are too few. Bins without rows are in the run that is open, or in the last. Fewer rows than `least` in
    all are one run.
    """
    order = range(len(rows)) if natural else rows.argsort(descending=True, stable=True).tolist()
    numbers = rows.tolist()
    result = [0] * len(numbers)
    run = behind = 0
    for place in order:
        result[place] = run
        behind += numbers[place]
        if behind >= least:
            run += 1
            behind = 0
    return torch.tensor(result, dtype=torch.int64).clamp(max=max(0, run - 1))


@dataclass(frozen=True)
class Cells:
    """`cell` int64 (groups, bins of the first parent, of the second): the cell in which these rows count.

    `share` float32 (cells, bins): p(own bin | cell).
    """

    cell: Tensor
    share: Tensor


def pool(counts: Tensor, natural: Sequence[bool], least: int) -> Cells:
    """The cells of `counts` (groups, bins of the first parent, of the second, own bins), `least` rows in each group.

    Bins of the first parent with fewer than `least` rows of a group are joined, then those of the second within each
    of the joined ones. `natural` says of each parent whether neighbouring bins are alike. So a table is as fine as its
    rows allow; every row counts in one cell alone, and no difference of cells speaks of fewer rows. Counts may be
    numbers with noise: what is negative is 0.
    """
    counts = counts.clamp(min=0)
    cell = torch.empty(counts.shape[:3], dtype=torch.int64)
    tables = list[Tensor]()
    for group, of_group in enumerate(counts):
        first = runs(of_group.sum((1, 2)), natural[0], least)
        for number in range(int(first.max()) + 1):
            mine = first == number
            joined = of_group[mine].sum(0)
            second = runs(joined.sum(1), natural[1], least)
            cell[group, mine] = len(tables) + second
            pooled = torch.zeros(int(second.max()) + 1, counts.shape[3], dtype=counts.dtype)
            tables += pooled.index_add_(0, second, joined)
    rows = torch.stack(tables).double()
    total = rows.sum(1, keepdim=True)
    even = torch.full_like(rows, 1 / rows.shape[1])
    return Cells(cell, torch.where(total > 0, rows / total.clamp(min=1e-9), even).float())
