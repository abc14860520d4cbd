"""Whom teachers ask in a large federation: a panel of experts, so that a sample costs the same however many clients.

An expert is of use for a class as far as it has seen the class and the others: of n samples of which n_c are of class c
it tells as much of c against the rest as n_c · (n − n_c) / n samples (the two-sample statistic's effective size). The
number n_c alone would choose clients with one class, whose models say this class of everything (docs/notes/scale.md).
Generators of all clients draw samples nevertheless.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mosaic_fl.exchange.contribution import Contribution

PANEL = 100
"""Experts that are asked for each sample, where there are more; up to so many all are, and nothing is chosen."""
EACH = 2  # experts of each class at least


def panel_size(clients: int, classes: int) -> int:
    """How many of the experts of so many clients are asked about samples of so many classes."""
    return min(clients, max(PANEL, EACH * classes))


def contrast(counts: Tensor) -> Tensor:
    """n_c · (n − n_c) / n, double (K, C), of samples by client and class (K, C); 0 where a client has one class."""
    own = counts.double()
    total = own.sum(1, keepdim=True)
    return own * (total - own) / total.clamp(min=1)


def chosen(counts: Tensor, size: int) -> list[int]:
    """`size` places of clients with samples `counts` (K, C), in order: of each class in turn the best one that is left.

    The best has the largest `contrast`; of equals the one with the most samples of the class, and then the first.
    """
    if not bool(counts.any()):  # no class to take turns: nobody is the better one
        return list(range(size))
    best_first = counts.argsort(dim=0, descending=True, stable=True)
    ranked = contrast(counts).gather(0, best_first).argsort(dim=0, descending=True, stable=True)
    orders = best_first.gather(0, ranked).T.tolist()
    turns = [iter(order) for order, held in zip(orders, counts.sum(0).tolist(), strict=True) if held]
    places = dict[int, None]()
    while len(places) < size:
        for turn in turns:
            place = next((place for place in turn if place not in places), None)
            if place is not None and len(places) < size:
                places[place] = None
    return sorted(places)


def panel(contributions: Sequence[Contribution]) -> Sequence[Contribution]:
    """The contributions whose experts are asked: the same object where all are.

    All are where samples have several fields, since who can read which is not weighed here.
    """
    size = panel_size(len(contributions), contributions[0].schema.num_classes)
    if size >= len(contributions) or contributions[0].schema.joins:
        return contributions
    counts = torch.stack([contribution.class_counts for contribution in contributions])
    return [contributions[place] for place in chosen(counts, size)]
