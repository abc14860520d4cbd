"""How far an AUROC of few samples may lie from the truth: a bootstrap of the test samples, each class by itself."""

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

REPLICATES = 1000
FEWEST = 100  # replicates, where samples are many
WORK = 10**8  # samples drawn at most, a few seconds
ENDS = (2.5, 97.5)  # percentiles: 95 % lie between

Array = npt.NDArray[np.float64]


def auroc_interval(scores: Tensor, labels: Tensor) -> list[float] | None:
    """[AUROC, low, high] of log-probabilities or logits `scores` (n, C) for `labels` int64 (n,).

    The AUROC is that of `quality`: of class 1 of two, else the mean of each class against the rest. The ends are
    percentiles of a stratified bootstrap (Efron and Tibshirani 1993): each replicate draws as many samples of each
    class as there are, with replacement. None where all labels are of one class. None, too, where there are so many
    samples that even 100 replicates take long: the interval is then narrower than a figure shows. The same each time.
    """
    answers = labels.numpy()
    replicates = min(REPLICATES, WORK // max(1, len(answers) * scores.shape[1]))
    if len(np.unique(answers)) < 2 or replicates < FEWEST:
        return None
    probabilities = scores.double().softmax(1).numpy()
    classes = [1] if scores.shape[1] == 2 else [c for c in range(scores.shape[1]) if (answers == c).any()]
    ranks = [_levels(probabilities[:, c]) for c in classes]
    rng = np.random.default_rng(0)
    groups = [np.flatnonzero(answers == label) for label in np.unique(answers)]
    areas = np.empty(replicates)
    once = np.ones(len(answers))
    value = _mean_area(ranks, classes, answers, once)
    for place in range(replicates):
        drawn = np.concatenate([rng.choice(group, len(group)) for group in groups])
        areas[place] = _mean_area(ranks, classes, answers, np.bincount(drawn, minlength=len(answers)).astype(float))
    low, high = np.percentile(areas, ENDS)
    return [value, float(low), float(high)]


def _levels(values: Array) -> npt.NDArray[np.int64]:
    """The place of each value among the different ones, from the least."""
    return np.unique(values, return_inverse=True)[1].reshape(-1)


def _mean_area(ranks: list[Any], classes: list[int], answers: npt.NDArray[np.int64], weights: Array) -> float:
    """The mean over `classes` of the area under the curve, of samples that count `weights` times.

    It is the share of pairs of a sample of the class and one of the rest in which the first has the higher score; a tie
    is half a pair.
    """
    areas = []
    for level, label in zip(ranks, classes, strict=True):
        ours = answers == label
        inside = np.bincount(level, weights * ours)
        outside = np.bincount(level, weights * ~ours)
        below = np.cumsum(outside) - outside
        pairs = inside.sum() * outside.sum()
        areas.append(float((inside * (below + outside / 2)).sum() / pairs))
    return float(np.mean(areas))
