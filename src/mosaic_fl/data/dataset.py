"""Labelled images as two tensors: held once, indexed, never copied by loader workers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mosaic_fl.data.schema import Schema
from mosaic_fl.errors import UsageError


@dataclass(frozen=True, repr=False)
class ImageData:
    """n labelled images: `images` uint8 (n, channels, height, width), `labels` int64 (n,) in 0..C−1."""

    images: Tensor
    labels: Tensor
    schema: Schema

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or tuple(self.images.shape[1:]) != self.schema.shape:
            raise UsageError(
                f"images are {self.images.dtype} {tuple(self.images.shape)}, "
                f"the schema says uint8 (n, {', '.join(map(str, self.schema.shape))})"
            )
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise UsageError(f"labels must be int64 ({len(self.images)},), not {self.labels.dtype}")
        if len(self.labels) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < self.schema.num_classes:
            raise UsageError(
                f"labels run from {int(self.labels.min())} to {int(self.labels.max())}, but there are "
                f"{self.schema.num_classes} classes: number them 0..{self.schema.num_classes - 1}"
            )

    def __repr__(self) -> str:
        return f"ImageData({len(self):,} samples, {self.schema.summary})"

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Tensor | npt.NDArray[np.int64] | Sequence[int]) -> "ImageData":
        """The samples at `indices`, in that order."""
        index = torch.as_tensor(indices, dtype=torch.int64)
        return ImageData(self.images[index], self.labels[index], self.schema)

    def class_counts(self) -> Tensor:
        """How many samples each class has: int64 (C,)."""
        return torch.bincount(self.labels, minlength=self.schema.num_classes)


@dataclass(frozen=True)
class Splits:
    """A data set as it is loaded: `test` is for the final figures alone."""

    name: str
    train: ImageData
    test: ImageData


def to_float(images: Tensor) -> Tensor:
    """uint8 0..255 at rest -> float32 −1..1 in use; the shape stays."""
    return images.to(torch.float32).div_(127.5).sub_(1.0)


def to_uint8(images: Tensor) -> Tensor:
    """float −1..1 -> the nearest uint8 0..255, the inverse of `to_float` up to rounding; clamps."""
    return images.add(1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
