"""All synthetic samples of all epochs, so that the student forgets none (DENSE's data pool)."""

import torch
from torch import Tensor

from mosaic_fl.domains.kind import Kind
from mosaic_fl.models.inference import accuracy
from mosaic_fl.training.batches import batches


class SyntheticPool:
    """Labelled values of one `kind` that only ever become more; at rest on the CPU."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self._values: list[Tensor] = []
        self._labels: list[Tensor] = []

    def add(self, generated: Tensor, labels: Tensor) -> None:
        """Keep what a generator gave, float (n, …), with its `labels` (n,)."""
        self.keep(self.kind.to_rest(generated.detach()).cpu(), labels.detach().cpu())

    def keep(self, values: Tensor, labels: Tensor) -> None:
        """Keep `values` (n, …) that are at rest already, with their `labels` (n,)."""
        self._values.append(values)
        self._labels.append(labels)

    def __len__(self) -> int:
        return sum(map(len, self._labels))

    @property
    def values(self) -> Tensor:
        """All of them at rest, in the order they came."""
        self._values = [torch.cat(self._values)]
        return self._values[0]

    @property
    def labels(self) -> Tensor:
        """int64 (n,)."""
        self._labels = [torch.cat(self._labels)]
        return self._labels[0]

    def at(self, index: Tensor, device: torch.device) -> Tensor:
        """The values at `index` as networks take them, on `device`."""
        return self.kind.to_network(self.values[index].to(device))

    def batches(self, size: int, steps: int, rng: torch.Generator) -> list[Tensor]:
        """Indices of `steps` batches, every value once before any comes again.

        0 steps: one pass over the pool, whose last batch is filled up from the next.
        """
        source = batches(len(self), size, rng)
        return [next(source) for _ in range(steps or -(-len(self) // size))]


def recall(outputs: Tensor, labels: Tensor) -> list[float]:
    """For each class the share in 0..1 of its samples that logits `outputs` (n, C) call by it; 0 of none."""
    return [accuracy(outputs[labels == c], labels[labels == c]) for c in range(outputs.shape[1])]
