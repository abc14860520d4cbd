"""Labelled samples, and a data set with its training and test parts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mosaic_fl.domains.samples import Samples, concatenate
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """n labelled samples of a schema: `samples` at rest, `labels` int64 (n,) in 0..C−1.

    Raises UsageError where they do not fit the schema or each other.
    """

    samples: Samples
    labels: Tensor
    schema: Schema

    def __post_init__(self) -> None:
        values: tuple[Any, Any] = (self.samples, self.labels)  # of any type: a user may have no type checker
        if not isinstance(values[0], Samples) or not isinstance(values[1], Tensor):
            kinds = " and ".join(type(value).__name__ for value in values)
            raise UsageError(f"a Dataset is of Samples and a tensor of labels, not {kinds}: from_arrays makes one")
        if self.samples.kinds != self.schema.fields:
            raise UsageError("the samples are of other fields or kinds than the schema says")
        if self.labels.dtype != torch.int64 or self.labels.shape != (len(self.samples),):
            raise UsageError(f"labels must be int64 ({len(self.samples)},), not {self.labels.dtype}")
        if len(self.labels) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < self.schema.num_classes:
            raise UsageError(
                f"labels run from {int(self.labels.min())} to {int(self.labels.max())}, but there are "
                f"{self.schema.num_classes} classes: number them 0..{self.schema.num_classes - 1}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Dataset({len(self):,} samples, {self.schema.summary})"

    @property
    def images(self) -> Tensor:
        """The values of the one field at rest, uint8 (n, channels, height, width) of images."""
        return self.samples.only

    def subset(self, indices: Tensor | npt.NDArray[np.int64] | Sequence[int]) -> "Dataset":
        """The samples at `indices`, in that order; or those whose truth value is True, with one truth value a sample.

        Raises UsageError for numbers that are not whole, and for another number of truth values.
        """
        index = torch.as_tensor(indices)
        if index.dtype == torch.bool and index.shape == self.labels.shape:
            index = index.nonzero().flatten()
        if len(index) and (index.dtype == torch.bool or index.is_floating_point() or index.is_complex()):
            raise UsageError(
                f"indices are {index.dtype} {tuple(index.shape)}: give whole numbers, or {len(self)} truth values"
            )
        index = index.to(torch.int64)
        return Dataset(self.samples[index], self.labels[index], self.schema)

    def part(self, names: Sequence[str]) -> "Dataset":
        """The samples that have at least one of the fields `names`, with these fields alone."""
        if self.schema.fields.keys() <= set(names):
            return self
        rows = torch.stack([self.samples.having(name) for name in names]).any(0)
        return Dataset(self.samples.part(names)[rows], self.labels[rows], self.schema.part(names))

    def field_counts(self) -> Tensor:
        """The number of samples of each class that have each field: int64 (F, C), in the schema's order of fields."""
        classes = self.schema.num_classes
        rows = [self.samples.having(name) for name in self.schema.fields]
        return torch.stack([torch.bincount(self.labels[own], minlength=classes) for own in rows])

    def class_counts(self) -> Tensor:
        """The number of samples of each class: int64 (C,)."""
        return torch.bincount(self.labels, minlength=self.schema.num_classes)


@dataclass(frozen=True)
class Splits:
    """A data set with its parts. `test` is only for the final figures.

    `column` holds a value for each training sample, (n,) numbers or texts, where these values divide the clients.
    """

    name: str
    train: Dataset
    test: Dataset
    column: npt.NDArray[Any] | None = field(default=None, repr=False)


def pool(parts: Sequence[Dataset]) -> Dataset:
    """All samples of the parts, in their order."""
    labels = torch.cat([part.labels for part in parts])
    return Dataset(concatenate([part.samples for part in parts]), labels, parts[0].schema)


def image_dataset(images: Tensor, labels: Tensor, schema: Schema) -> Dataset:
    """Labelled samples of one field, whose values at rest are `images`."""
    name = next(iter(schema.fields))
    return Dataset(Samples(schema.fields, {name: images}), labels, schema)
