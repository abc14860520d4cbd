"""Which classes share a model of their rows: those with few rows, so that no model speaks of fewer than `least`."""

import torch
from torch import Tensor


def class_groups(counts: Tensor, own_rows: int, most: int, least: int) -> Tensor:
    """The group of each class, int64 (C,), by its rows: a class of `own_rows` has its own; all others share the first.

    Where these have fewer than `least` rows together, they are in the group of the class with the most rows. There is
    no shared group where no class with rows needs it; classes without rows are then in the first. Where there were
    more than `most` groups, the classes with the most rows have one of their own.
    """
    own = counts >= own_rows
    if int(own.sum()) + bool(counts[~own].any()) > most:
        first = counts.argsort(descending=True, stable=True)[: most - 1]
        own = torch.zeros_like(own).index_fill(0, first, True)
    few = int(counts[~own].sum())
    shared = few >= least or not bool(own.any())
    group = torch.where(own, own.cumsum(0) - 1 + shared, 0)
    if not shared:
        group[~own & (counts > 0)] = group[counts.argmax()]
    return group
