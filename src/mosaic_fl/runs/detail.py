"""What a report shows of the test set beside the accuracy: confusions, calibration, and who knows which class."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.models.inference import recall, recall_of_answers
from mosaic_fl.numerics.probabilities import BINS, calibration_error

SHARES = 20  # of the samples, most certain first, at which the accuracy of answering these alone is told
MOST_CLASSES = 100  # of which confusions and recalls of every model are told: their number grows with its square


def detail(
    predictions: Tensor,
    labels: Tensor,
    classes: Sequence[str],
    teacher: Tensor | None = None,
    local: Tensor | None = None,
) -> dict[str, Any]:
    """The entry `detail` of a result, for logits `predictions` (n, C) of the served model and `labels` (n,).

    `samples` is n and `classes` their names. `confusion` (C, C) counts samples by true class and answer.
    `calibration` has for each of 15 bins of confidence its samples, their mean confidence and their accuracy, and
    `calibration_error` is that of `quality`. `abstain` has (share answered, accuracy), the most
    certain first. `recall_by_model` are recalls of `teacher`, log-probabilities (n, C), and of the clients' models,
    whose classes are `local` (n, K). Of more than 100 classes there are no confusions and no recalls.
    """
    probabilities = predictions.double().softmax(1)
    confidence, answers = probabilities.max(1)
    right = (answers == labels).double()
    result: dict[str, Any] = {"samples": len(labels), "classes": list(classes)}
    if not len(labels):
        return result
    result |= {
        "calibration": _calibration(confidence, right),
        "calibration_error": calibration_error(probabilities.numpy(), labels.numpy()),
        "abstain": _abstain(confidence, right),
    }
    if len(classes) > MOST_CLASSES:
        return result
    pairs = torch.bincount(labels * len(classes) + answers, minlength=len(classes) ** 2)
    result["confusion"] = pairs.view(len(classes), -1).tolist()
    models = {} if teacher is None else {"teacher": recall(teacher, labels, len(classes))}
    own = [] if local is None else [recall_of_answers(answers, labels, len(classes)) for answers in local.T]
    return result | {"recall_by_model": {**models, "local": own}}


def _calibration(confidence: Tensor, right: Tensor) -> list[list[float]]:
    places = (confidence * BINS).long().clamp(0, BINS - 1)
    count = torch.bincount(places, minlength=BINS)
    sure = torch.bincount(places, confidence, BINS)
    hits = torch.bincount(places, right, BINS)
    return [[int(n), float(s / n), float(h / n)] for n, s, h in zip(count, sure, hits, strict=True) if n]


def _abstain(confidence: Tensor, right: Tensor) -> list[list[float]]:
    mean = right[confidence.argsort(descending=True, stable=True)].cumsum(0) / torch.arange(1, len(right) + 1)
    ends = sorted({max(1, round(len(right) * k / SHARES)) for k in range(1, SHARES + 1)})
    return [[end / len(right), float(mean[end - 1])] for end in ends]


def split(counts: Mapping[int, Tensor], *, noisy: bool = False) -> dict[str, Any]:
    """The entry `split` of `detail`: how many training samples of each class the clients hold, `counts` (C,) by number.

    `noisy`: with noise for differential privacy. Empty where there are no clients, or more than 100 classes.
    """
    rows = {client: values.tolist() for client, values in sorted(counts.items())}
    if not rows or len(next(iter(rows.values()))) > MOST_CLASSES:
        return {}
    return {"split": {"clients": list(rows), "counts": list(rows.values()), "noisy": noisy}}


def told_split(contributions: Sequence[Contribution]) -> dict[str, Any]:
    """`split`, as the contributions tell it."""
    noisy = any(one.privacy is not None for one in contributions)
    return split({one.client: one.class_counts for one in contributions}, noisy=noisy)
