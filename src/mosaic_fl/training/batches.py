"""Which samples a step sees."""

from collections.abc import Iterator

import torch
from torch import Tensor


def batches(n: int, size: int, rng: torch.Generator) -> Iterator[Tensor]:
    """Endless index batches int64 (size,): every sample once before any comes again, in a new order each pass.

    A batch may span two passes, so no batch is ever short; with fewer than `size` samples it holds all n of them.
    A single sample comes twice, since batch norm needs two values.
    """
    if n == 1:
        while True:
            yield torch.zeros(2, dtype=torch.int64)
    size = min(size, n)
    left = torch.empty(0, dtype=torch.int64)
    while True:
        while len(left) < size:
            left = torch.cat([left, torch.randperm(n, generator=rng)])
        yield left[:size]
        left = left[size:]
