"""How a student stands against its teachers on held-back samples: counted by hand, and told in one line."""

import warnings

import pytest
import torch

from mosaic_fl.notes import Note
from mosaic_fl.server.experts import MixtureOfExperts
from mosaic_fl.server.standing import teacher_accuracies, tell_if_behind
from mosaic_fl.server.teachers import Teachers

WEIGHTS = torch.tensor([[0.9, 0.1], [0.1, 0.9]])
TEACHERS = Teachers(MixtureOfExperts((), WEIGHTS, torch.full((2, 2), 0.5)), None)
SURE = 4.0


def says(*classes: int) -> torch.Tensor:
    """Logits (1, K, 2) of experts that are sure of these classes for a sample."""
    return torch.stack([torch.eye(2)[label] * SURE for label in classes])[None]


def test_accuracies_by_hand() -> None:
    # Expert 0 says class 0 and expert 1 class 1: weighted by class, either is believed. Both say 1: so do all teachers.
    first = (torch.cat([says(1, 1), says(1, 1), says(0, 0)]), torch.tensor([1, 0, 0]))
    second = (says(0, 0), torch.tensor([0]))
    nothing = (torch.zeros(0, 2, 2), torch.zeros(0, dtype=torch.int64))
    told = teacher_accuracies(TEACHERS, {"mean_logits", "class_weighted"}, lambda: [first, nothing, second])
    assert told == {"class_weighted": 0.75, "mean_logits": 0.75}  # three of four samples, over all clients


def test_nobody_held_anything_back() -> None:
    assert teacher_accuracies(TEACHERS, {"mean_logits"}, list) == {}


@pytest.mark.parametrize(
    ("score", "gains", "words"),
    [
        (0.60, True, r"10.0 points behind the ensemble meta \(60.0 % against 70.0 %\): more distill.terms may help"),
        (0.60, False, r"a larger --student, or more generator.steps, may help"),
    ],
)
def test_a_student_that_is_behind_is_told_of(score: float, gains: bool, words: str) -> None:
    with pytest.warns(Note, match=words):
        tell_if_behind(score, {"meta": 0.7, "class_weighted": 0.65}, gains=gains)


@pytest.mark.parametrize(("score", "accuracies"), [(0.68, {"meta": 0.7}), (None, {"meta": 0.7}), (0.1, {})])
def test_nothing_is_told_of_one_that_is_not_or_that_nobody_judged(
    score: float | None, accuracies: dict[str, float]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Note)
        tell_if_behind(score, accuracies, gains=True)
