"""How good a global model's predictions are for labelled samples."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError


@dataclass(frozen=True)
class Evaluation:
    """The quality of predictions: the share `accuracy` in 0..1 of `samples` samples that is right, and class recalls.

    `recall` holds, for each of `classes` in the order of their labels, the share of its samples that is predicted as
    this class; None for a class without samples.
    """

    samples: int
    accuracy: float
    recall: tuple[float | None, ...]
    classes: tuple[str, ...]

    @property
    def balanced_accuracy(self) -> float:
        """The mean recall of the classes that have samples. Rare classes count as much as frequent ones."""
        shares = [share for share in self.recall if share is not None]
        return sum(shares) / len(shares) if shares else 0.0

    def __repr__(self) -> str:
        balanced = f"balanced accuracy {self.balanced_accuracy:.4f}"
        return f"Evaluation({self.samples:,} samples, accuracy {self.accuracy:.4f}, {balanced})"


def numbers_of(data: Dataset, classes: tuple[str, ...]) -> Tensor:
    """The labels of `data` as numbers of `classes`: by name, or unchanged where the names of its classes are 0..C−1."""
    names = data.schema.classes
    if names == classes:
        return data.labels
    if unknown := [name for name in names if name not in classes]:
        positional = names == tuple(map(str, range(len(names)))) and len(names) <= len(classes)
        if positional and not all(name.isdecimal() for name in classes):  # else the numbers are names
            return data.labels
        raise UsageError(
            f"class {unknown[0]!r} of the data is none of the model's classes ({', '.join(classes[:10])}"
            f"{', …' if len(classes) > 10 else ''})"
        )
    return torch.tensor([classes.index(name) for name in names])[data.labels]
