"""Which classes have trees of their own, and which share them."""

from torch import Tensor

from mosaic_fl.generators.cart.trees import LEAST
from mosaic_fl.generators.class_groups import class_groups

OWN_ROWS = 50  # of a class from which on it has trees of its own
MOST_TREES = 4096  # of a state: each costs time and memory however small it is


def groups(counts: Tensor, columns: int) -> Tensor:
    """The group of each class, int64 (C,), with no more than `MOST_TREES` trees of as many `columns` in all."""
    return class_groups(counts, OWN_ROWS, max(1, MOST_TREES // columns), LEAST)
