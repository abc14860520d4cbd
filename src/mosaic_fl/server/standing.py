"""How a student stands against its teachers and every ensemble: on samples that the clients held back.

Where nobody can be asked, as by files, it is on new samples of the clients' generators. These are no real data, and
they overrate the student, which has learnt what these generators draw (docs/notes/other-data.md): one that is behind
there has learnt too little, but one that is ahead there may be behind on real data. A note says what they are.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.notes import note
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.server.pool import Pool, Sampler, of_sources
from mosaic_fl.server.recognition import Recognition
from mosaic_fl.server.teachers import Teachers

Tally = Callable[[Callable[[Dataset], Mapping[str, int]]], Mapping[str, int]]
"""A count -> its sums over the clients' validation splits, which only the engine sees; see `Federation.tally`."""
SAMPLES = "samples"
DRAWN = 2000  # synthetic samples, of all clients and classes, where nobody can be asked
TEACHERS = "teachers_on_samples"
STUDENT = "student_on_samples"
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


def draw(sampler: Sampler, seed: int) -> Pool:
    """The new samples on which a student stands against its teachers where nobody can be asked."""
    return sampler.draw(DRAWN, Stream(seed, "standing"))


def sample_accuracies(
    student: GlobalModel,
    teachers: Teachers,
    names: Iterable[str],
    sampler: Sampler,
    measure: Recognition,
    seed: int,
    device: torch.device,
) -> dict[str, Any]:
    """The accuracy of the `student`, and of each of these teachers, on `DRAWN` new samples against their labels.

    A sample counts as far as its client's expert recognises that client's samples of its class, since the others may
    show another class than they were drawn as. Every expert is asked once. Empty where nothing at all is recognised.
    """
    pool = draw(sampler, seed)
    weights = of_sources(measure.rates, sampler.clients, pool.sources, pool.labels).double()
    total = float(weights.sum())
    if not total:
        return {}

    def accuracy(answers: torch.Tensor) -> float:
        return round(float(weights[answers.argmax(1).cpu() == pool.labels].sum()) / total, 6)

    answers = teachers.ask(set(names), pool.samples, device)
    accuracies = {name: accuracy(answer) for name, answer in answers.items()}
    return {TEACHERS: accuracies, STUDENT: accuracy(student.logits(pool.samples, device))}


def tell_if_behind(
    score: float | None, accuracies: Mapping[str, float], *, gains: bool, synthetic: bool = False
) -> None:
    """A note where a student with this `score` is behind its best teacher; `gains`: its last term still helped.

    `synthetic` says that both are accuracies on synthetic samples, and not on real ones.
    """
    if score is None or not accuracies:
        return
    best = max(accuracies, key=lambda name: accuracies[name])
    distance = accuracies[best] - score
    if distance <= BEHIND:
        return
    place = "new synthetic samples, which are no real data," if synthetic else "the clients' validation data"
    more = "distill.steps" if synthetic else "generator.steps"
    advice = "more distill.terms" if gains else f"a larger --student, or more {more},"
    note(
        f"on {place} the global model is {100 * distance:.1f} points behind the ensemble {best} "
        f"({100 * score:.1f} % against {100 * accuracies[best]:.1f} %): {advice} may help"
    )
