"""The final figures on the test set, which nothing else ever sees."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.data.dataset import ImageData
from mosaic_fl.global_model import GlobalModel
from mosaic_fl.methods.averaging import validation_accuracy
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.models.inference import accuracy
from mosaic_fl.server.experts import class_weighted, mean_logits, mean_probabilities
from mosaic_fl.states import State


def figures(
    outcome: Outcome,
    test: ImageData,
    ceiling: State | None,
    confusions: Sequence[Tensor],
    device: torch.device,
) -> dict[str, Any]:
    """Accuracies as fractions, by their names in `result.json`; None or empty for what the method does not have."""
    model, labels = outcome.model, test.labels
    predicted = outcome.served.logits(test.images, device)
    result: dict[str, Any] = {
        "accuracy": accuracy(predicted, labels),
        "recall": _recall(predicted, labels, test.schema.num_classes),
        "validation_accuracy": validation_accuracy(confusions),
        "holdout": outcome.distilled.holdout if outcome.distilled else None,
        "teacher_accuracy": None,
        "ensemble_accuracy": None,
        "mean_probability_accuracy": None,
        "class_weighted_accuracy": None,
        "local_accuracy": [],
        "centralised_accuracy": None,
    }
    if outcome.distilled:
        distilled, teachers = outcome.distilled, outcome.distilled.teachers
        outputs = distilled.clients.outputs(test.images, device)
        taught = outputs if teachers.mixture is distilled.clients else teachers.mixture.outputs(test.images, device)
        result |= {
            "teacher_accuracy": accuracy(teachers.log_probabilities(distilled.choice["teacher"], taught), labels),
            "choice": distilled.choice,
            "generators": distilled.generators,
            "transfer_shares": distilled.shares,
            "ensemble_accuracy": accuracy(mean_logits(outputs), labels),
            "mean_probability_accuracy": accuracy(mean_probabilities(outputs), labels),
            "class_weighted_accuracy": accuracy(class_weighted(outputs, distilled.clients.weights), labels),
            "local_accuracy": [accuracy(outputs[:, k], labels) for k in range(outputs.shape[1])],
        }
    if ceiling is not None and model is not None:
        pooled = GlobalModel(model.architecture, model.schema, ceiling)
        result["centralised_accuracy"] = accuracy(pooled.logits(test.images, device), labels)
    return result


def _recall(outputs: Tensor, labels: Tensor, classes: int) -> list[float | None]:
    """Share of each class that is found; None for a class without samples."""
    right = (outputs.argmax(1) == labels).float()
    return [float(right[labels == c].mean()) if bool((labels == c).any()) else None for c in range(classes)]
