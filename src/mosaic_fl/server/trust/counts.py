"""How far claimed numbers of samples count: no more than others' numbers make plausible."""

from statistics import median

import torch
from torch import Tensor

LARGEST = 5
"""Times the median number of samples: what a client claims beyond it counts nothing, whoever it is."""
FEWEST = 3  # clients of which a median says something
BOUND = 3.0  # times the other's samples that one of two clients who contradict each other counts in a class


def cap(counts: Tensor) -> Tensor:
    """The part of its claims that each client's size leaves it, double (K,) in 0..1, of counts (K, C).

    No client counts for more than `LARGEST` times the median of all. Of fewer than `FEWEST` there is no such median.
    """
    totals = counts.sum(1).tolist()
    if len(totals) < FEWEST:
        return torch.ones(len(totals), dtype=torch.float64)
    most = LARGEST * median(totals)
    return torch.tensor([1.0 if total <= most else most / total for total in totals], dtype=torch.float64)


def bound(own: float, other: float) -> float:
    """The part of its claims of a class that a client keeps where one other client alone holds it, and contradicts."""
    return min(1.0, BOUND * other / own)
