"""Which classes have trees of their own, and which share them."""

import torch
from torch import Tensor

from mosaic_fl.generators.cart.trees import LEAST

OWN_ROWS = 50  # of a class from which on it has trees of its own
MOST_TREES = 4096  # of a state: each costs time and memory however small it is


def groups(counts: Tensor, columns: int) -> Tensor:
    """The group of each class, int64 (C,), by its rows: a class of `OWN_ROWS` has its own; all others share the first.

    Where these have fewer than `LEAST` rows together, they are in the group of the class with the most rows. There is
    no shared group where no class with rows needs it; classes without rows are then in the first. Where there were
    more than `MOST_TREES` trees of as many `columns`, the classes with the most rows have trees of their own.
    """
    own = counts >= OWN_ROWS
    most = max(1, MOST_TREES // columns)
    if int(own.sum()) + bool(counts[~own].any()) > most:
        first = counts.argsort(descending=True, stable=True)[: most - 1]
        own = torch.zeros_like(own).index_fill(0, first, True)
    few = int(counts[~own].sum())
    shared = few >= LEAST or not bool(own.any())
    group = torch.where(own, own.cumsum(0) - 1 + shared, 0)
    if not shared:
        group[~own & (counts > 0)] = group[counts.argmax()]
    return group
