"""What a site tells of models on samples that it held back: figures alone, each of a least number of samples.

Classes with fewer samples are told as one group, absent ones with them, so nobody sees which class is rare and which is
absent. Nor does the difference of two figures tell of fewer samples: a group that is still too small takes the smallest
class that is not in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isclose, isfinite
from typing import Any

from mosaic_fl.domains.schema import MAX_CLASSES
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import MAX_CLIENT, MAX_COUNT
from mosaic_fl.exchange.score_names import GLOBAL, OWN
from mosaic_fl.numerics.intervals import wilson
from mosaic_fl.storage import container

KIND = "scores"
MAX_BYTES = 4 * 2**20
MAX_MODELS = 100
ROUNDING = 1e-6  # of a share that is told twice


@dataclass(frozen=True)
class GroupRecall:
    """The share `recall` in 0..1 that is right of the `samples` samples of these `classes`, by their numbers."""

    classes: tuple[int, ...]
    samples: int
    recall: float


@dataclass(frozen=True)
class Gain:
    """How many `points` of accuracy a model has more than the site's own, and the 95 % interval of that difference."""

    points: float
    low: float
    high: float


@dataclass(frozen=True)
class ModelScores:
    """One model on a site's held-back samples. `model` is `GLOBAL` or `OWN`, `digest` its file's SHA-256 or empty.

    `recall` has every class once. `ece` (0..1) and `auroc` are those of `runs.quality`; None where they were not
    measured, or too few samples are behind them. `gain` is None of the site's own model, and without one.
    """

    model: str
    digest: str
    accuracy: float
    recall: tuple[GroupRecall, ...]
    ece: float | None = None
    auroc: float | None = None
    gain: Gain | None = None

    def to_json(self, samples: int) -> dict[str, Any]:
        """As JSON values, with the ends of the accuracy's 95 % interval over so many `samples` (Wilson)."""
        low, high = wilson(self.accuracy, samples)
        return {**asdict(self), "recall": [asdict(group) for group in self.recall], "low": low, "high": high}


@dataclass(frozen=True)
class SiteScores:
    """The scores of `models` on `samples` held-back samples of the site `client`, of so many `classes`.

    At least `least` samples are behind each figure. Raises UsageError where the figures contradict each other.
    """

    client: int
    classes: int
    samples: int
    least: int
    models: tuple[ModelScores, ...]

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.samples:
            raise UsageError(f"figures of {self.samples} samples, and at least {self.least} are behind each")
        for scores in self.models:
            self._check(scores)

    def _check(self, scores: ModelScores) -> None:
        told = [number for group in scores.recall for number in group.classes]
        if sorted(told) != list(range(self.classes)):
            raise UsageError(f"recalls that do not have each of {self.classes} classes once")
        if sum(group.samples for group in scores.recall) != self.samples:
            raise UsageError(f"recalls of another number of samples than {self.samples}")
        if any(group.samples < self.least for group in scores.recall):
            raise UsageError(f"a recall of fewer than {self.least} samples")
        right = sum(group.samples * group.recall for group in scores.recall) / self.samples
        if not isclose(right, scores.accuracy, abs_tol=ROUNDING):
            raise UsageError(f"recalls that make an accuracy of {right:.4f}, and it says {scores.accuracy:.4f}")

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "models": [scores.to_json(self.samples) for scores in self.models]}

    def to_bytes(self) -> bytes:
        """The file format: see `container`."""
        return container.pack(KIND, self.to_json(), {})

    @classmethod
    def from_bytes(cls, data: bytes, source: str = KIND) -> "SiteScores":
        """The inverse of `to_bytes`, for bytes that may come from anywhere; raises UsageError that names the source."""
        if len(data) > MAX_BYTES:
            raise UsageError(f"{source}: {len(data):,} bytes; scores have {MAX_BYTES:,} at most")
        manifest, tensors = container.unpack(data, KIND, source)
        try:
            if tensors:
                raise UsageError("it has tensors, and scores have none")
            return cls.from_json(manifest)
        except UsageError as error:
            raise UsageError(f"{source}: {error}") from error

    @classmethod
    def from_json(cls, content: object) -> "SiteScores":
        """From JSON values that may come from anywhere; raises UsageError."""
        match content:
            case {
                "client": client,
                "classes": classes,
                "samples": samples,
                "least": least,
                "models": list(models),
            } if (
                _is_count(client, MAX_CLIENT)
                and _is_count(classes, MAX_CLASSES)
                and _is_count(samples, MAX_COUNT)
                and _is_count(least, MAX_COUNT)
                and 1 <= len(models) <= MAX_MODELS
            ):
                return cls(client, classes, samples, least, tuple(map(_model, models)))
        raise UsageError("it is not a site's scores")


def groups_of(counts: Sequence[int], least: int) -> list[tuple[int, ...]]:
    """The classes by their numbers as they are told: each alone, but those of few samples in one group at the end.

    `counts` are the samples of each class, `least` in all at least. Every group has `least` samples.
    """
    small = [number for number, count in enumerate(counts) if count < least]
    alone = sorted(set(range(len(counts))) - set(small), key=lambda number: (counts[number], number))
    while small and alone and sum(counts[number] for number in small) < least:
        small.append(alone.pop(0))
    return [(number,) for number in sorted(alone)] + ([tuple(sorted(small))] if small else [])


def recalls_of(counts: Sequence[int], right: Sequence[int], least: int) -> tuple[GroupRecall, ...]:
    """The recalls of all classes, of which there are `counts` samples and `right` ones."""
    result = []
    for group in groups_of(counts, least):
        samples = sum(counts[number] for number in group)
        result.append(GroupRecall(group, samples, sum(right[number] for number in group) / samples))
    return tuple(result)


def _model(content: object) -> ModelScores:
    match content:
        case {
            "model": str(model),
            "digest": str(digest),
            "accuracy": accuracy,
            "recall": list(recall),
            "ece": ece,
            "auroc": auroc,
            "gain": gain,
        } if (
            model in (GLOBAL, OWN)
            and _is_digest(digest)
            and _is_share(accuracy)
            and all(figure is None or _is_share(figure) for figure in (ece, auroc))
        ):
            groups = tuple(map(_group, recall))
            return ModelScores(model, digest, accuracy, groups, ece, auroc, None if gain is None else _gain(gain))
    raise UsageError("its scores of a model are none")


def _group(content: object) -> GroupRecall:
    match content:
        case {"classes": list(classes), "samples": samples, "recall": recall} if (
            _is_count(samples, MAX_COUNT) and _is_share(recall) and all(_is_count(c, MAX_CLASSES) for c in classes)
        ):
            return GroupRecall(tuple(classes), samples, recall)
    raise UsageError("its recall of a class is none")


def _gain(content: Mapping[str, Any]) -> Gain:
    match content:
        case {"points": points, "low": low, "high": high} if all(_is_points(value) for value in (points, low, high)):
            return Gain(points, low, high)
    raise UsageError("its gain is none")


def _is_count(value: object, most: int) -> bool:
    return type(value) is int and 0 <= value <= most


def _is_share(value: object) -> bool:
    return type(value) in (int, float) and isfinite(value) and 0 <= value <= 1  # type: ignore[arg-type,operator]


def _is_points(value: object) -> bool:
    return type(value) in (int, float) and isfinite(value) and abs(value) <= 100  # type: ignore[arg-type]


def _is_digest(text: str) -> bool:
    return not text or (len(text) == 64 and set(text) <= set("0123456789abcdef"))
