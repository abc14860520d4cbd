"""A site scores models on samples that it held back: the global model, its own, and whether it gains."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.score_names import GLOBAL, OWN
from mosaic_fl.exchange.site_scores import Gain, ModelScores, SiteScores, recalls_of
from mosaic_fl.experts.kind import Expert
from mosaic_fl.experts.reading import answers_of
from mosaic_fl.numerics.intervals import paired_difference
from mosaic_fl.numerics.probabilities import auroc, calibration_error


@dataclass(frozen=True)
class Judged:
    """A model that is scored: `GLOBAL` or `OWN`, the SHA-256 of its file where it has one, and its expert."""

    model: str
    expert: Expert
    digest: str = ""


def score(
    client: int, data: Dataset, judged: Sequence[Judged], least: int, device: torch.device | str = "cpu"
) -> SiteScores:
    """The scores of the `judged` models, the same in order, on the labelled `data` of the site `client`.

    Raises UsageError for fewer than `least` samples, and for a model whose outputs are not finite.
    """
    if len(data) < least:
        raise UsageError(
            f"{len(data)} sample{'s are' if len(data) != 1 else ' is'} held back, and at least {least} are behind each "
            "figure: hold more back"
        )
    outputs = [_outputs(model, data, device) for model in judged]
    right = [(answers.argmax(1) == data.labels) & (answers != answers[:, :1]).any(1) for answers in outputs]
    own = next((hits for model, hits in zip(judged, right, strict=True) if model.model == OWN), None)
    models = [
        _of_model(model, answers, hits, data, least, own if model.model == GLOBAL else None)
        for model, answers, hits in zip(judged, outputs, right, strict=True)
    ]
    return SiteScores(client, data.schema.num_classes, len(data), least, tuple(models))


def _outputs(model: Judged, data: Dataset, device: torch.device | str) -> Tensor:
    """Log-probabilities (n, C); of a sample whose fields a model cannot read, an even one, which is never right."""
    answers = answers_of(model.expert, data.samples, device)
    unread = answers.isnan().all(1)
    answers = torch.where(unread[:, None], torch.zeros_like(answers), answers)
    if not bool(answers.isfinite().all()):
        raise UsageError(f"the {model.model} model gives outputs that are not finite: it cannot be scored")
    return answers


def _of_model(
    model: Judged, answers: Tensor, right: Tensor, data: Dataset, least: int, own: Tensor | None
) -> ModelScores:
    classes = data.schema.num_classes
    labels = data.labels.numpy()
    probabilities = answers.double().softmax(1).numpy()
    hits = torch.bincount(data.labels[right], minlength=classes).tolist()
    return ModelScores(
        model=model.model,
        digest=model.digest,
        accuracy=int(right.sum()) / len(data),
        recall=recalls_of(data.class_counts().tolist(), hits, least),
        ece=calibration_error(probabilities, labels),
        auroc=auroc(probabilities, labels, least),
        gain=None if own is None else gain(right, own),
    )


def gain(right: Tensor, own: Tensor) -> Gain:
    """What a model whose answers are `right` (bool (n,)) has more than the site's own, on the same n samples."""
    more = int((right & ~own).sum())
    fewer = int((own & ~right).sum())
    low, high = paired_difference(more, fewer, len(right))
    return Gain(100 * (more - fewer) / len(right), 100 * low, 100 * high)


def gain_line(scores: SiteScores) -> str:
    """Whether the site gains by the global model, in one sentence; empty where it is not scored beside its own."""
    own = next((model for model in scores.models if model.model == OWN), None)
    shared = next((model for model in scores.models if model.gain is not None), None)
    if own is None or shared is None or shared.gain is None:
        return ""
    points = shared.gain.points
    interval = f"{shared.gain.low:+.1f} to {shared.gain.high:+.1f}"
    verdict = f"The site {'gains' if points > 0 else 'loses'} {abs(points):.1f} points of accuracy by taking part"
    if shared.gain.low <= 0 <= shared.gain.high:
        verdict = f"Whether the site gains is not certain, at {points:+.1f} points of accuracy"
    return (
        f"{verdict} (95 % interval {interval}): the global model is right on {100 * shared.accuracy:.1f} % of "
        f"{scores.samples:,} samples held back here, its own on {100 * own.accuracy:.1f} %"
    )
