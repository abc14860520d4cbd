"""How a student stands against its teachers on held-back samples: counted by hand, and told in one line."""

import warnings
from collections import Counter
from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor

from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.domains.samples import Samples
from mosaic_fl.notes import Note
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.server.experts import MixtureOfExperts
from mosaic_fl.server.pool import Pool
from mosaic_fl.server.recognition import Recognition
from mosaic_fl.server.standing import DRAWN, Tally, sample_accuracies, teacher_accuracies, tell_if_behind
from mosaic_fl.server.teachers import Teachers

CPU = torch.device("cpu")
SCHEMA = image_schema((1, 1, 1), ("dark", "bright"))


class ByBrightness:
    """An expert that calls a pixel bright from `threshold` on, and is sure of it."""

    def __init__(self, threshold: int) -> None:
        self.threshold = threshold

    def log_probabilities(self, samples: Samples, device: torch.device | str = "cpu") -> Tensor:
        bright = (samples.only.flatten() >= self.threshold).long()
        return 4.0 * torch.eye(2)[bright]


TEACHERS = Teachers(
    MixtureOfExperts(
        (ByBrightness(100), ByBrightness(200)), torch.tensor([[0.5, 0.9], [0.5, 0.1]]), torch.ones(2, 2) / 2
    ),
    None,
)


def split(*pixels: int, labels: list[int]) -> Dataset:
    """A validation split of images of one pixel."""
    values = torch.tensor(pixels, dtype=torch.uint8).reshape(-1, 1, 1, 1)
    samples = Samples(SCHEMA.fields, {next(iter(SCHEMA.fields)): values})
    return Dataset(samples, torch.tensor(labels, dtype=torch.int64), SCHEMA)


def summed(parts: list[Dataset]) -> Tally:
    """An engine's tally over these validation splits."""

    def tally(count: Callable[[Dataset], Mapping[str, int]]) -> Mapping[str, int]:
        return sum((Counter(count(part)) for part in parts), Counter())

    return tally


def test_accuracies_by_hand() -> None:
    # At 150 the experts differ: by class the first is believed that it is bright. All three others are plain.
    parts = [split(50, 150, labels=[0, 1]), split(labels=[]), split(250, 150, labels=[1, 0])]
    accuracies = teacher_accuracies(TEACHERS, {"class_weighted"}, summed(parts), CPU)
    assert accuracies == {"class_weighted": 0.75}  # three of four samples, over all clients


def test_nobody_held_anything_back() -> None:
    assert teacher_accuracies(TEACHERS, {"mean_logits"}, summed([]), CPU) == {}
    assert teacher_accuracies(TEACHERS, {"mean_logits"}, summed([split(labels=[])]), CPU) == {}


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


class Drawing:
    """A sampler of clients 3 and 7 that draws four pixels, two of each."""

    clients = torch.tensor([3, 7])

    def draw(self, n: int, stream: Stream) -> Pool:
        """The same ones every time."""
        assert n == DRAWN
        data = split(50, 150, 150, 250, labels=[0, 1, 0, 1])
        return Pool(data.samples, data.labels, torch.tensor([3, 3, 7, 7]))


class Gloomy:
    """A student that calls everything dark."""

    def logits(self, samples: Samples, device: torch.device | str) -> Tensor:
        """Logits (n, 2)."""
        return torch.tensor([[1.0, 0.0]]).expand(len(samples), 2)


def on_samples(rates: list[list[float]]) -> dict[str, object]:
    """The accuracies on these four pixels, where clients 3 and 7 are recognised at these `rates`."""
    measure = Recognition(torch.tensor(rates), 0.5)
    return sample_accuracies(Gloomy(), TEACHERS, {"class_weighted"}, Drawing(), measure, 0, CPU)  # type: ignore[arg-type]


def test_a_synthetic_sample_counts_as_far_as_it_is_recognised() -> None:
    # The ensemble calls 150 bright, which is wrong for the third pixel. These count 1, ½, ¼ and nothing.
    figures = on_samples([[1.0, 0.5], [0.25, 0.0]])
    assert figures["teachers_on_samples"] == {"class_weighted": pytest.approx(1.5 / 1.75, abs=1e-6)}
    assert figures["student_on_samples"] == pytest.approx(1.25 / 1.75, abs=1e-6)


def test_samples_that_nobody_recognises_say_nothing() -> None:
    assert on_samples([[0.0, 0.0], [0.0, 0.0]]) == {}


def test_a_note_about_synthetic_samples_says_that_they_are_no_real_data() -> None:
    words = (
        r"on new synthetic samples, which are no real data, the global model is 10.0 points behind the ensemble meta"
    )
    with pytest.warns(Note, match=words):
        tell_if_behind(0.6, {"meta": 0.7}, gains=False, synthetic=True)
