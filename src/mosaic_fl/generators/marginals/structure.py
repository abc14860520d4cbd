"""Which columns are a column's parents, and in which order columns are drawn: by mutual information, given the class.

The first parents are a maximum spanning tree (Chow & Liu 1968; given the class, Friedman, Geiger & Goldszmidt 1997). A
second one is taken where it tells more than chance does. Estimates are freed of their bias (Miller 1955), without which
columns of many bins would seem to tell most.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

PARENTS = 2  # beside the class
NONE = -1  # stands for no parent
BIAS = 0.5  # of n · information, for each cell with rows (Miller 1955)
TRIED = 8  # columns as a second parent, those that alone tell most
WIDEST = 4096  # bins of all columns together: the pairs of more are too many


@dataclass(frozen=True)
class Structure:
    """`order` int64 (D,): columns as they are drawn; `parents` int64 (D, 2): of each column, `NONE` for none.

    A column's parents are drawn before it, and one that has one parent has it first.
    """

    order: Tensor
    parents: Tensor


def learn(codes: Tensor, sizes: Sequence[int], group: Tensor, most: int) -> Structure:
    """The structure for `codes` int64 (n, D) with `sizes` bins, and each row's `group` of classes, int64 (n,).

    `most` is how many configurations of group and parents a column may have. Columns of more than `WIDEST` bins
    together are independent given the class.
    """
    columns = len(sizes)
    parents = torch.full((columns, PARENTS), NONE, dtype=torch.int64)
    groups = int(group.max()) + 1
    if sum(sizes) > WIDEST:
        return Structure(torch.arange(columns), parents)
    gain = pairwise(codes, sizes, group)
    fits = torch.tensor([groups * size <= most for size in sizes])
    tells = gain.masked_fill(~fits[None, :], 0.0).fill_diagonal_(0.0)
    order = _spanning_tree(tells, gain, parents)
    for rank, column in enumerate(order):
        first = int(parents[column, 0])
        if first == NONE:
            continue
        others = [c for c in order[:rank] if c != first and groups * sizes[first] * sizes[c] <= most]
        others = sorted(others, key=lambda c: -float(gain[column, c]))[:TRIED]
        context = group * sizes[first] + codes[:, first]
        gains = [_given(codes[:, column], codes[:, c], context, sizes[column], sizes[c]) for c in others]
        if gains and max(gains) > 0:
            parents[column, 1] = others[gains.index(max(gains))]
    return Structure(torch.tensor(order), parents)


def pairwise(codes: Tensor, sizes: Sequence[int], group: Tensor) -> Tensor:
    """I(X_i; X_j | group) in nats, float64 (D, D), less its bias; on the diagonal the entropy H(X_i | group)."""
    n = len(codes)
    starts = torch.tensor([0, *sizes[:-1]]).cumsum(0)
    owner = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    block = torch.nn.functional.one_hot(owner, len(sizes)).double()
    total = torch.zeros(len(sizes), len(sizes), dtype=torch.float64)
    for number in range(int(group.max()) + 1):
        mine = codes[group == number]
        rows = torch.zeros(len(mine), sum(sizes))
        rows.scatter_(1, mine + starts, 1.0)
        joint = (rows.T @ rows).double()
        terms = block.T @ torch.special.xlogy(joint, joint) @ block
        cells = block.T @ (joint > 0).double() @ block
        alone = terms.diagonal()
        information = terms + len(mine) * _log(len(mine)) - alone[:, None] - alone[None, :]
        occupied = cells.diagonal()
        information -= (cells - occupied[:, None] - occupied[None, :] + 1) * BIAS
        entropy = len(mine) * _log(len(mine)) - alone
        total += information.diagonal_scatter(entropy)
    return total / n


def _given(x: Tensor, parent: Tensor, context: Tensor, of_x: int, of_parent: int) -> float:
    """I(x; parent | context) in nats, less its bias; all int64 (n,), the first two with so many bins."""
    both = context * of_parent + parent
    parts = [(both * of_x + x, 1), (context, 1), (both, -1), (context * of_x + x, -1)]
    total = 0.0
    for place, sign in parts:
        rows = torch.bincount(place.unique(return_inverse=True)[1]).double()
        total += sign * (float(torch.special.xlogy(rows, rows).sum()) - len(rows) * BIAS)
    return total / len(x)


def _spanning_tree(tells: Tensor, gain: Tensor, parents: Tensor) -> list[int]:
    """The columns in the order of Prim's algorithm, each one's first parent written to `parents`.

    `tells` (D, D): what each column of a row would gain from that of a column as its parent. It begins with the column
    that tells most of all others; one to which none tells anything has no parent.
    """
    start = int(gain.fill_diagonal_(0.0).sum(1).argmax())
    order = [start]
    best = tells[:, start].clone()
    who = torch.full((len(tells),), start)
    best[start] = -torch.inf
    while len(order) < len(tells):
        column = int(best.argmax())
        if float(best[column]) > 0:
            parents[column, 0] = who[column]
        order.append(column)
        better = tells[:, column] > best
        better[order] = False
        best = torch.where(better, tells[:, column], best)
        who[better] = column
        best[column] = -torch.inf
    return order


def _log(number: int) -> float:
    return float(torch.tensor(float(max(1, number)), dtype=torch.float64).log())
