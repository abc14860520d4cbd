"""The final figures of a run on the test set. Nothing else in a run uses the test set."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.methods.averaging import validation_accuracy
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.models.inference import accuracy, recall
from mosaic_fl.server.experts import MixtureOfExperts, class_weighted, mean_logits, mean_probabilities


def figures(
    outcome: Outcome,
    test: Dataset,
    ceiling: GlobalModel | None,
    confusions: Sequence[Tensor],
    device: torch.device,
    clients: int = 0,
) -> dict[str, Any]:
    """Accuracies as fractions, by their names in `result.json`; None or empty for figures that the method lacks.

    `confusions` are those of the global model on the clients' validation splits; empty where none was measured. Lists
    of the clients' own figures have one entry for each of `clients` clients, by number, even if its model never came.
    With `clients` 0 they have one entry for each model that came, in their order.
    """
    labels = test.labels
    outputs = None
    if outcome.model is None and outcome.ensemble is not None:
        outputs = outcome.ensemble.mixture.outputs(test.samples, device)
        predictions = outcome.ensemble.fuse(outputs)
    else:
        predictions = outcome.served.logits(test.samples, device)
    result: dict[str, Any] = {
        "accuracy": accuracy(predictions, labels),
        "recall": recall(predictions, labels, test.schema.num_classes),
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
        distilled = outcome.distilled
        teachers = distilled.teachers
        outputs = distilled.clients.outputs(test.samples, device)
        teacher_inputs = (
            outputs if teachers.mixture is distilled.clients else teachers.mixture.outputs(test.samples, device)
        )
        result |= {
            "teacher_accuracy": accuracy(
                teachers.log_probabilities(distilled.choice["teacher"], teacher_inputs), labels
            ),
            "choice": distilled.choice,
            "generators": _by_client(distilled.generators, distilled.clients.owners, clients, "none (no contribution)"),
            "transfer_samples": distilled.samples,
            **_clients(outputs, distilled.clients, labels, clients),
        }
    elif outputs is not None and outcome.ensemble is not None:
        result |= _clients(outputs, outcome.ensemble.mixture, labels, clients)
    if ceiling is not None:
        result["centralised_accuracy"] = accuracy(ceiling.logits(test.samples, device), labels)
    return result


def _clients(outputs: Tensor, mixture: MixtureOfExperts, labels: Tensor, clients: int) -> dict[str, Any]:
    """Figures of the clients' own models, whose logits are `outputs` (n, K, C), alone and as ensembles."""
    own = [accuracy(outputs[:, k], labels) for k in range(outputs.shape[1])]
    return {
        "ensemble_accuracy": accuracy(mean_logits(outputs), labels),
        "mean_probability_accuracy": accuracy(mean_probabilities(outputs), labels),
        "class_weighted_accuracy": accuracy(class_weighted(outputs, mixture.weights), labels),
        "local_accuracy": _by_client(own, mixture.owners, clients, None),
    }


def _by_client(values: Sequence[Any], owners: Sequence[int], clients: int, absent: Any) -> list[Any]:
    """A list with the value of each of `clients` clients, or `absent`; `values` themselves where `clients` is 0.

    `values` are in the order of their `owners`, which are numbers of clients.
    """
    if not clients:
        return list(values)
    by_number = dict(zip(owners, values, strict=True))
    return [by_number.get(k, absent) for k in range(clients)]
