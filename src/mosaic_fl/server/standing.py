"""How a student stands against its teachers and every ensemble, on samples that the clients held back."""

from collections.abc import Callable, Iterable, Mapping

import torch

from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.notes import note
from mosaic_fl.server.teachers import Teachers

Tally = Callable[[Callable[[Dataset], Mapping[str, int]]], Mapping[str, int]]
"""A count -> its sums over the clients' validation splits, which only the engine sees; see `Federation.tally`."""
SAMPLES = "samples"
BEHIND = 0.03  # in accuracy: a student that is farther behind its best teacher is told of


def teacher_accuracies(
    teachers: Teachers, names: Iterable[str], tally: Tally, device: torch.device
) -> dict[str, float]:
    """The accuracy of each of these teachers on all clients' validation splits; empty where nobody counts there."""
    ordered = sorted(names)

    def count(part: Dataset) -> dict[str, int]:
        if not len(part):
            return {}
        answers = teachers.ask(set(ordered), part.samples, device)
        right = {name: int((answers[name].argmax(1) == part.labels).sum()) for name in ordered}
        return {**right, SAMPLES: len(part)}

    sums = tally(count)
    return {name: sums[name] / sums[SAMPLES] for name in ordered} if sums.get(SAMPLES) else {}


def gap(score: float | None, accuracies: Mapping[str, float]) -> float:
    """How far a student with this `score` is behind the best of its teachers, in accuracy; 0 where nobody can tell."""
    return 0.0 if score is None else max([value - score for value in accuracies.values()], default=0.0)


def tell_if_behind(score: float | None, accuracies: Mapping[str, float], *, gains: bool) -> None:
    """A note where a student with this `score` is behind its best teacher; `gains`: its last term still helped."""
    distance = gap(score, accuracies)
    if score is None or distance <= BEHIND:
        return
    best = max(accuracies, key=lambda name: accuracies[name])
    advice = "more distill.terms" if gains else "a larger --student, or more generator.steps,"
    note(
        f"on the clients' validation data the global model is {100 * distance:.1f} points behind the ensemble {best} "
        f"({100 * score:.1f} % against {100 * accuracies[best]:.1f} %): {advice} may help"
    )
