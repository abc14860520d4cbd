"""How a student stands against its teachers and every ensemble, on samples that the clients held back."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch

from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.notes import note
from mosaic_fl.server.teachers import Teachers

HeldBack = Callable[[], Sequence[Dataset]]
"""The clients' validation splits, where a simulation has them at hand; see `Federation.held_back`."""
BEHIND = 0.03  # in accuracy: a student that is farther behind its best teacher is told of


def teacher_accuracies(
    teachers: Teachers, names: Iterable[str], held_back: HeldBack, device: torch.device
) -> dict[str, float]:
    """The accuracy of each of these teachers on all clients' held-back samples; empty where there are none."""
    parts = [part for part in held_back() if len(part)]
    right = dict.fromkeys(sorted(names), 0)
    for part in parts:
        for name, answers in teachers.ask(set(right), part.samples, device).items():
            right[name] += int((answers.argmax(1) == part.labels).sum())
    samples = sum(map(len, parts))
    return {name: count / samples for name, count in right.items()} if samples else {}


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
