"""Figures of probabilities beside the accuracy: AUROC, balanced accuracy, log-loss and calibration error."""

import numpy as np
import numpy.typing as npt
from torch import Tensor

from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.vector import Vector
from mosaic_fl.numerics.probabilities import Array, auroc, calibration_error

LEAST = 1e-15  # of a probability, so that a log-loss is finite


def wants_quality(samples: Samples) -> bool:
    """Whether results have these figures: where samples are rows of a table, or vectors of such rows."""
    kinds = [kind.of or kind if isinstance(kind, Vector) else kind for kind in samples.kinds.values()]
    return [kind.name for kind in kinds] == ["table"]


def quality(scores: Tensor, labels: Tensor) -> dict[str, float | None]:
    """The figures by name of log-probabilities or logits `scores` (n, C) for `labels` int64 (n,).

    `auroc` is that of class 1 of two, and else the mean over classes, each against the rest; None where all labels are
    of one class. `balanced_accuracy` is the mean recall of the classes that occur. `log_loss` is in nats. `ece` is the
    expected calibration error in 0..1: the mean gap between confidence and accuracy in 15 bins of confidence. All are
    None without samples.
    """
    if not len(labels):
        return dict.fromkeys(("auroc", "balanced_accuracy", "log_loss", "ece"))
    probabilities = scores.double().softmax(1).numpy()
    answers = labels.numpy()
    true = probabilities[np.arange(len(answers)), answers]
    return {
        "auroc": auroc(probabilities, answers),
        "balanced_accuracy": _balanced_accuracy(probabilities, answers),
        "log_loss": float(-np.log(np.maximum(true, LEAST)).mean()),
        "ece": calibration_error(probabilities, answers),
    }


def _balanced_accuracy(probabilities: Array, answers: npt.NDArray[np.int64]) -> float:
    from sklearn.metrics import recall_score

    present = np.unique(answers)
    return float(recall_score(answers, probabilities.argmax(1), labels=present, average="macro", zero_division=0))
