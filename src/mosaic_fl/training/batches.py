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
    order = torch.empty(0, dtype=torch.int64)
    while True:
        while len(order) < size:
            another = torch.randperm(n, generator=rng)
            order = torch.cat([order, another]) if len(order) else another
        yield order[:size]
        order = order[size:]
