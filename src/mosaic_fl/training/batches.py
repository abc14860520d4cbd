"""The order of samples in training: index batches."""

from collections.abc import Iterator

import torch
from torch import Tensor


def batches(n: int, size: int, rng: torch.Generator) -> Iterator[Tensor]:
    """Endless index batches int64 (size,), in passes over all samples, each in a new order.

    A batch may span two passes, so all batches have equal size; with fewer than `size` samples it is all n of them.
    A single sample comes twice in a batch, since batch norm needs two values.
    """
    if n == 1:
        while True:
            yield torch.zeros(2, dtype=torch.int64)
    size = min(size, n)
    order = torch.randperm(n, generator=rng)
    while True:
        whole = len(order) // size * size
        yield from order[:whole].split(size)
        order = torch.cat([order[whole:], torch.randperm(n, generator=rng)])
