"""Circles of clients that are compared with each other, so that the comparison costs each client the same.

All clients name all others' samples where they are few. Of many that work, and the table of pairs, would grow with the
square of their number. So each belongs to one circle of about as many, drawn at random: its witnesses are the others
there. Liars cannot choose each other's company, and are as rare in a circle as they are among all.
"""

import math

import torch

from mosaic_fl.numerics.randomness import Stream

CIRCLE = 100
"""Clients of a circle at most; up to so many all are in one."""


def circles(clients: int, seed: int) -> list[list[int]]:
    """The places 0..`clients` − 1 in groups of `CIRCLE` at most, whose sizes differ by one at most; each in order."""
    if clients <= CIRCLE:
        return [list(range(clients))]
    order = torch.randperm(clients, generator=Stream(seed, "trust-circles").torch())
    return [sorted(part.tolist()) for part in order.tensor_split(math.ceil(clients / CIRCLE))]
