"""A client's validation split, for its own choices (epochs, best step). The test set is never used for them."""

import numpy as np
import numpy.typing as npt

from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.numerics.randomness import Stream

Indices = npt.NDArray[np.int64]
TEST_SHARE = 0.2  # of a test set, for a data set without one

# 0.29 · 100 is 28.999… in binary: without this, `floor` would give one sample less than a reader expects.
_ROUNDING = 1e-9


def hold_out(data: Dataset, share: float, stream: Stream) -> tuple[Dataset, Dataset]:
    """Split `data` into (train, validation), the same share of every class, in the order of the samples.

    Of n_c samples of class c, floor(share · n_c) are held out, and at least one stays for training: a class
    with fewer than 1/share samples gives none, so a small client's validation split may be empty. `share`
    is in 0..1. The same stream gives the same split.
    """
    if not share:  # the samples themselves, not a copy
        return data, data.subset(np.empty(0, np.int64))
    is_validation = held_out(data.labels.numpy(), data.schema.num_classes, share, stream)
    return data.subset(np.flatnonzero(~is_validation)), data.subset(np.flatnonzero(is_validation))


def held_out(labels: Indices, classes: int, share: float, stream: Stream) -> npt.NDArray[np.bool_]:
    """Which of n samples with these `labels` int64 (n,) in 0..`classes`−1 `hold_out` holds out: bool (n,)."""
    counts = np.bincount(labels, minlength=classes)
    quota = np.minimum(np.floor(share * counts + _ROUNDING), np.maximum(counts - 1, 0))

    order = stream.numpy().permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]  # class by class, at random within each
    first = np.cumsum(counts) - counts
    rank = np.arange(len(labels)) - first[labels[by_class]]
    chosen = np.zeros(len(labels), np.bool_)
    chosen[by_class[rank < quota[labels[by_class]]]] = True
    return chosen
