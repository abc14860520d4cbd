"""How a student stands against its teachers and every ensemble, on samples that the clients held back."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from torch import Tensor

from mosaic_fl.notes import note
from mosaic_fl.server.teachers import Teachers

HeldBack = Callable[[], Sequence[tuple[Tensor, Tensor]]]
"""The experts' outputs (n, K, C) and the labels (n,) on each client's validation split; see `Federation`."""
BEHIND = 0.03  # in accuracy: a student that is farther behind its best teacher is told of


def teacher_accuracies(teachers: Teachers, names: Iterable[str], held_back: HeldBack) -> dict[str, float]:
    """The accuracy of each of these teachers on all clients' held-back samples; empty where there are none."""
    parts = [(outputs, labels) for outputs, labels in held_back() if len(labels)]
    samples = sum(len(labels) for _, labels in parts)
    if not samples:
        return {}

    def right(name: str) -> int:
        answers = (teachers.log_probabilities(name, outputs).argmax(1) == labels for outputs, labels in parts)
        return sum(int(answer.sum()) for answer in answers)

    return {name: right(name) / samples for name in sorted(names)}


def tell_if_behind(score: float | None, accuracies: Mapping[str, float], *, gains: bool) -> None:
    """A note where a student with this `score` is behind its best teacher; `gains`: its last term still helped."""
    if score is None or not accuracies:
        return
    best = max(accuracies, key=lambda name: accuracies[name])
    gap = accuracies[best] - score
    if gap > BEHIND:
        advice = "more distill.terms" if gains else "a larger --student, or more generator.steps,"
        note(
            f"on the clients' validation data the global model is {100 * gap:.1f} points behind the ensemble {best} "
            f"({100 * score:.1f} % against {100 * accuracies[best]:.1f} %): {advice} may help"
        )
