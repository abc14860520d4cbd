"""All synthetic images of all epochs, so that the student forgets none (DENSE's data pool)."""

import torch
from torch import Tensor

from mosaic_fl.data.dataset import to_float, to_uint8
from mosaic_fl.models.inference import accuracy
from mosaic_fl.training.batches import batches


class ImagePool:
    """Labelled images that only ever become more; at rest uint8 on the CPU."""

    def __init__(self) -> None:
        self._images: list[Tensor] = []
        self._labels: list[Tensor] = []

    def add(self, images: Tensor, labels: Tensor) -> None:
        """Keep float `images` (n, channels, height, width) in −1..1 with their `labels` (n,)."""
        self.keep(to_uint8(images.detach()).cpu(), labels.detach().cpu())

    def keep(self, images: Tensor, labels: Tensor) -> None:
        """Keep `images` (n, channels, height, width) that are uint8 already, with their `labels` (n,)."""
        self._images.append(images)
        self._labels.append(labels)

    def __len__(self) -> int:
        return sum(map(len, self._labels))

    @property
    def images(self) -> Tensor:
        """All of them, uint8 (n, channels, height, width), in the order they came."""
        self._images = [torch.cat(self._images)]
        return self._images[0]

    @property
    def labels(self) -> Tensor:
        """int64 (n,)."""
        self._labels = [torch.cat(self._labels)]
        return self._labels[0]

    def at(self, index: Tensor, device: torch.device) -> Tensor:
        """The images at `index`, float in −1..1 on `device`."""
        return to_float(self.images[index].to(device))

    def batches(self, size: int, steps: int, rng: torch.Generator) -> list[Tensor]:
        """Indices of `steps` batches, every image once before any comes again.

        0 steps: one pass over the pool, whose last batch is filled up from the next.
        """
        source = batches(len(self), size, rng)
        return [next(source) for _ in range(steps or -(-len(self) // size))]


def recall(outputs: Tensor, labels: Tensor) -> list[float]:
    """For each class the share in 0..1 of its images that logits `outputs` (n, C) call by it; 0 of none."""
    return [accuracy(outputs[labels == c], labels[labels == c]) for c in range(outputs.shape[1])]
