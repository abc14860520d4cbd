"""Figures of probabilities: the area under the ROC curve, and the calibration error."""

import numpy as np
import numpy.typing as npt

BINS = 15  # of the confidence, equally wide (Guo et al. 2017)

Array = npt.NDArray[np.float64]


def auroc(probabilities: Array, answers: npt.NDArray[np.int64], least: int = 1) -> float | None:
    """The AUROC of probabilities (n, C) for classes (n,): of class 1 of two, else a mean over all classes.

    Each class stands against the rest. It counts where `least` samples have it and as many have not; None for none.
    """
    from sklearn.metrics import roc_auc_score

    binary = probabilities.shape[1] == 2
    areas = [
        float(roc_auc_score(answers == c, probabilities[:, c]))
        for c in ([1] if binary else range(probabilities.shape[1]))
        if least <= int((answers == c).sum()) <= len(answers) - least
    ]
    return float(np.mean(areas)) if areas else None


def calibration_error(probabilities: Array, answers: npt.NDArray[np.int64]) -> float:
    """The expected calibration error of probabilities (n, C) for classes (n,), n at least 1; see `quality`."""
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == answers
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, confidence - right, BINS)  # of each bin, its samples times the gap of their means
    return float(np.abs(gaps).sum() / len(answers))
