"""The final figures of a run on the test set. Nothing else in a run uses the test set."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.samples import Samples
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.experts.no_model import NoModel
from mosaic_fl.methods.averaging import validation_accuracy
from mosaic_fl.methods.outcome import Ensemble, Outcome
from mosaic_fl.models.inference import accuracy, recall
from mosaic_fl.notes import note
from mosaic_fl.runs.auroc import auroc_interval
from mosaic_fl.runs.detail import detail
from mosaic_fl.runs.quality import quality, wants_quality
from mosaic_fl.runs.trust_figures import trust_figures
from mosaic_fl.server.distill import Distilled
from mosaic_fl.server.experts import MixtureOfExperts, class_weighted, mean_logits, mean_probabilities
from mosaic_fl.server.teachers import READ_SAMPLES

MOST_FIELDS = 4  # of which every subset is measured
MOST_INTERVALS = 40  # clients whose models' AUROCs have an interval


def figures(
    outcome: Outcome,
    test: Dataset,
    ceiling: GlobalModel | None,
    confusions: Sequence[Tensor],
    device: torch.device,
    clients: int = 0,
    *,
    intervals: bool = True,
) -> dict[str, Any]:
    """Accuracies as fractions, by their names in `result.json`; None or empty for figures that the method lacks.

    `confusions` are those of the global model on the clients' validation splits; empty where none was measured. Lists
    of the clients' own figures have one entry for each of `clients` clients, by number, even if its model never came.
    With `clients` 0 they have one entry for each model that came, in their order. `intervals`: whether the AUROC of
    rows has one.
    """
    labels = test.labels
    answers: dict[str, Tensor] = {}
    if outcome.model is None and outcome.ensemble is not None:
        ensemble = outcome.ensemble
        answers = _answers(ensemble.mixture, test.samples, device, {"served": ensemble.fuse})
        predictions = answers["served"]
    else:
        ensemble = None
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
    if outcome.distilled and outcome.distilled.clients.has_black_boxes:
        note("test data do not go to sites that keep their models: teachers and clients' own models have no figure")
        result |= _of_distilled(outcome.distilled, clients)
    elif outcome.distilled:
        distilled = outcome.distilled
        name = distilled.choice["teacher"]
        # One look at the clients' models serves all, but for a teacher that has other experts or reads samples, too.
        alike = distilled.teachers.mixture is distilled.clients and name not in READ_SAMPLES
        teach = {"teacher": partial(distilled.teachers.log_probabilities, name)} if alike else {}
        answers = _answers(distilled.clients, test.samples, device, teach)
        if not alike:
            answers |= {"teacher": distilled.teachers.ask({name}, test.samples, device)[name]}
        result |= {
            "teacher_accuracy": accuracy(answers["teacher"], labels),
            **_of_distilled(distilled, clients),
            **_clients(answers, distilled.clients, labels, clients),
        }
    elif ensemble is not None:
        result |= _clients(answers, ensemble.mixture, labels, clients)
    result["detail"] = detail(
        predictions, labels, test.schema.classes, answers.get("teacher"), _in_order(answers, outcome, clients)
    )
    if outcome.model is not None and outcome.model.assurance is not None and len(labels):
        result["confidence"] = trust_figures(outcome.model, test, predictions, device)
    pooled = None if ceiling is None else ceiling.logits(test.samples, device)
    if pooled is not None:
        result["centralised_accuracy"] = accuracy(pooled, labels)
    if test.schema.joins:
        models = {"accuracy": outcome.served} | ({} if ceiling is None else {"centralised_accuracy": ceiling})
        result["by_fields"] = _by_fields(test.samples, labels, models, device)
    if wants_quality(test.samples):
        more = {} if pooled is None else {"centralised": quality(pooled, labels)}
        result["quality"] = {"served": quality(predictions, labels), **result.get("quality", {}), **more}
        if intervals:
            scored = {"served": predictions, **answers} | ({} if pooled is None else {"centralised": pooled})
            result["detail"] |= _auroc_intervals(scored, labels)
    return result


def _auroc_intervals(answers: Mapping[str, Tensor], labels: Tensor) -> dict[str, Any]:
    """The entry `auroc` of `detail`: [AUROC, low, high] of each model, as named in `quality`; None where not known."""
    own = answers.get("own")
    scored = {name: scores for name, scores in answers.items() if name not in ("own", "local")}
    shared = {name: auroc_interval(scores, labels) for name, scores in scored.items()}
    local = [] if own is None else [auroc_interval(scores, labels) for scores in own.unbind(1)[:MOST_INTERVALS]]
    return {"auroc": {**shared, "local": local}}


def _in_order(answers: Mapping[str, Tensor], outcome: Outcome, clients: int) -> Tensor | None:
    """The clients' models' classes (n, K) among the `answers`, by number; −1 for one that never came."""
    local = answers.get("local")
    mixture = outcome.distilled.clients if outcome.distilled else outcome.ensemble.mixture if outcome.ensemble else None
    if local is None or mixture is None or not clients:
        return local
    placed = torch.full((len(local), clients), -1)
    placed[:, list(mixture.owners)] = local
    return placed


def _of_distilled(distilled: Distilled, clients: int) -> dict[str, Any]:
    """What a distillation says of itself."""
    owners = distilled.clients.owners
    return {
        "choice": distilled.choice,
        "generators": _by_client(distilled.generators, owners, clients, "none (no contribution)"),
        "transfer_samples": distilled.samples,
    }


def _answers(
    mixture: MixtureOfExperts, samples: Samples, device: torch.device, more: Mapping[str, Callable[[Tensor], Tensor]]
) -> dict[str, Tensor]:
    """Scores (n, C) of the clients' models as ensembles, and of `more`; "local" has each one's class, int64 (n, K)."""
    fuses: dict[str, Callable[[Tensor], Tensor]] = {
        "ensemble": mean_logits,
        "mean_probability": mean_probabilities,
        "class_weighted": lambda outputs: class_weighted(outputs, mixture.weights),
        "local": lambda outputs: _classes(outputs),
    }
    if wants_quality(samples):
        fuses["own"] = lambda outputs: outputs.log_softmax(2)
    return mixture.fused(samples, {**fuses, **more}, device)


def _classes(outputs: Tensor) -> Tensor:
    """Each expert's class int64 (n, K); −1, which is wrong, for a sample that it cannot read."""
    return outputs.argmax(2).masked_fill(outputs[:, :, 0].isnan(), -1)


def _by_fields(
    samples: Samples, labels: Tensor, models: Mapping[str, GlobalModel | Ensemble], device: torch.device
) -> list[Any]:
    """The accuracy of each of these models on every subset of the fields, of the samples that have one of these.

    Of more than `MOST_FIELDS` fields only single ones, all but one, and all.
    """
    names = samples.fields
    sizes = range(1, len(names) + 1) if len(names) <= MOST_FIELDS else (1, len(names) - 1, len(names))
    rows = list[Any]()
    for subset in (subset for size in sizes for subset in combinations(names, size)):
        own = torch.stack([samples.having(name) for name in subset]).any(0)
        part = samples.with_fields(subset)[own]
        figures = {name: accuracy(model.logits(part, device), labels[own]) for name, model in models.items()}
        rows.append({"fields": list(subset), "samples": len(part), **figures})
    return rows


def _clients(answers: Mapping[str, Tensor], mixture: MixtureOfExperts, labels: Tensor, clients: int) -> dict[str, Any]:
    """Figures of the clients' own models from their `_answers`, alone and as ensembles.

    A site without a model has none of its own: its answers are its classes' shares.
    """
    own = [float((classes == labels).float().mean()) if len(labels) else 0.0 for classes in answers["local"].T]
    measured = [None if isinstance(x, NoModel) else value for x, value in zip(mixture.experts, own, strict=True)]
    ensembles = ("ensemble", "mean_probability", "class_weighted")
    return {
        **_quality(answers, mixture, labels, clients),
        **{f"{name}_accuracy": accuracy(answers[name], labels) for name in ensembles},
        "local_accuracy": _by_client(measured, mixture.owners, clients, None),
    }


def _quality(answers: Mapping[str, Tensor], mixture: MixtureOfExperts, labels: Tensor, clients: int) -> dict[str, Any]:
    """The entry `quality` of the clients' models, alone and as ensembles; none where samples are not rows."""
    if "own" not in answers:
        return {}
    own = [quality(scores, labels) for scores in answers["own"].unbind(1)]
    shared = {name: quality(scores, labels) for name, scores in answers.items() if name not in ("own", "local")}
    return {"quality": {**shared, "local": _by_client(own, mixture.owners, clients, None)}}


def _by_client(values: Sequence[Any], owners: Sequence[int], clients: int, absent: Any) -> list[Any]:
    """A list with the value of each of `clients` clients, or `absent`; `values` themselves where `clients` is 0.

    `values` are in the order of their `owners`, which are numbers of clients.
    """
    if not clients:
        return list(values)
    by_number = dict(zip(owners, values, strict=True))
    return [by_number.get(k, absent) for k in range(clients)]
