"""The server looks whether clients' experts recognise what their own generators draw."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from mosaic_fl.config import Config
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.domains.samples import Samples
from mosaic_fl.exchange.contribution import Contribution, no_prototypes
from mosaic_fl.generators import GeneratorSpec
from mosaic_fl.generators import build as build_generator
from mosaic_fl.models import build
from mosaic_fl.notes import Note
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.server.distill import Distilled, distill
from mosaic_fl.server.pool import Sampler
from mosaic_fl.server.recognition import Recognition, rates, recognition
from mosaic_fl.storage.journal import Journal

CPU = torch.device("cpu")
SPEC = GeneratorSpec("cvae", 2, 2)
QUICK = {"distill.steps": 2, "distill.pool": 40, "distill.prior_pool": 30, "models.student": "mlp:4", "meta.steps": 2}
QUICK |= {"distill.terms": 1}


@dataclass
class Stubborn:
    """An expert that takes every sample for one class."""

    label: int

    def log_probabilities(self, samples: Samples, device: torch.device | str = "cpu") -> Tensor:
        answers = torch.full((len(samples), 2), -9.0)
        answers[:, self.label] = 0.0
        return answers


def client(number: int, counts: list[int], channels: int = 1) -> Contribution:
    """A contribution whose networks have learnt nothing."""
    schema = image_schema((channels, 8, 8), ("a", "b"))
    with Stream(number, "init").ambient():
        expert = copy_state(build("mlp:4:1", schema))
        generator = copy_state(build_generator(SPEC, schema))
    return Contribution(
        number, schema, "mlp:4:1", expert, torch.tensor(counts), no_prototypes(), {"samples": 0}, SPEC, generator
    )


@pytest.mark.parametrize(("answers", "mean"), [((0, 1), 0.0), ((0, 0), 0.0)])
def test_an_expert_that_guesses_recognises_nothing(answers: tuple[int, int], mean: float) -> None:
    """Both clients draw both classes: an expert that says one of them is right in half of its samples, by chance."""
    sampler = Sampler([client(3, [5, 5]), client(7, [5, 5])], CPU)
    measure = recognition(sampler, [Stubborn(label) for label in answers], 0, CPU)
    assert measure is not None
    assert measure.mean == pytest.approx(mean, abs=0.05)


def test_who_has_a_single_class_says_nothing() -> None:
    """Its expert knows no other class, and would recognise anything."""
    sampler = Sampler([client(3, [5, 0]), client(7, [0, 5])], CPU)
    assert recognition(sampler, [Stubborn(0), Stubborn(1)], 0, CPU) is None


def test_rates_by_hand() -> None:
    # Client 0 drew two classes, 30 and 10, and is right in 30 of 40: 0.75, and beyond a chance of ½ 0.5. Of class 0 it
    # has 20 of 30, pulled to (20 + 7.5) / 40, and of class 1 all 10: (10 + 7.5) / 20. Client 1 has a single class.
    right = torch.tensor([[20.0, 10.0, 0.0], [0.0, 0.0, 8.0], [0.0, 0.0, 0.0]])
    drawn = torch.tensor([[30.0, 10.0, 0.0], [0.0, 0.0, 8.0], [0.0, 0.0, 0.0]])
    measure = rates(right, drawn)
    assert measure is not None
    assert measure.mean == pytest.approx(0.5)
    assert measure.rates[0].tolist() == pytest.approx([2 * (27.5 / 40 - 0.5), 2 * (17.5 / 20 - 0.5), 0.5])
    assert measure.rates[1:].flatten().tolist() == pytest.approx([0.5] * 6)


def test_means_count_by_samples_and_never_below_chance() -> None:
    # A chance of ⅓. Client 0 is always right in 90 samples, client 1 never in 30: (90 · 1 + 30 · 0) / 120.
    right = torch.tensor([[30.0, 30.0, 30.0], [0.0, 0.0, 0.0]])
    drawn = torch.tensor([[30.0, 30.0, 30.0], [10.0, 10.0, 10.0]])
    measure = rates(right, drawn)
    assert measure is not None
    assert measure.mean == pytest.approx(0.75)
    assert measure.rates[0].tolist() == pytest.approx([1.0] * 3)
    assert measure.rates[1].tolist() == [0.0] * 3


@pytest.mark.parametrize(("rate", "certainty"), [(0.5, 0.0), (0.9, 0.0), (0.95, 0.5), (1.0, 1.0)])
def test_labels_are_certain_where_nearly_all_samples_are_recognised(rate: float, certainty: float) -> None:
    assert Recognition(torch.tensor([[rate]]), rate).certainty.item() == pytest.approx(certainty, abs=1e-6)


def learn(contributions: list[Contribution], **settings: object) -> Distilled:
    """A distillation of very few steps."""
    return distill(contributions, Config().with_values(QUICK | settings), CPU, Journal())


def measured(monkeypatch: pytest.MonkeyPatch, mean: float) -> None:
    """Let experts recognise this share of all samples."""
    measure = Recognition(torch.full((2, 2), mean), mean)
    monkeypatch.setattr("mosaic_fl.server.distill.recognition", lambda *_: measure)


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_measured_decides_about_photographs_and_not_the_colour(
    monkeypatch: pytest.MonkeyPatch, channels: int
) -> None:
    pair = [client(0, [5, 5], channels), client(1, [5, 5], channels)]
    measured(monkeypatch, 0.5)
    with pytest.warns(Note, match="clients' models recognise 50% of what their own generators draw"):
        weak = learn(pair)
    assert weak.samples == {"generators": 40, "prior": 30}
    assert weak.choice["teacher"] == "class_balanced"
    assert (weak.choice["label"], weak.choice["terms"], weak.choice["recognised"]) == (0.5, 1, 0.5)
    assert weak.teachers.meta is None
    measured(monkeypatch, 1.0)
    strong = learn(pair)
    assert strong.samples == {"generators": 40, "prior": 0}
    assert strong.choice["teacher"] == "meta"
    alone = learn(pair, **{"distill.prior": "none"}).model.state
    assert all(torch.equal(alone[name], tensor) for name, tensor in strong.model.state.items())


def test_who_says_which_images_there_are_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    measured(monkeypatch, 0.85)
    alone = learn([client(0, [5, 5]), client(1, [5, 5])], **{"distill.prior": "none"})
    assert alone.samples == {"generators": 40, "prior": 0}
    assert alone.choice["teacher"] == "meta"


def test_beside_prior_images_the_ensemble_teaches_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The meta model is trained only where it may teach."""
    measured(monkeypatch, 0.5)
    pair = [client(0, [5, 5]), client(1, [5, 5])]
    named = learn(pair, **{"distill.teacher": "meta"})
    assert named.choice["teacher"] == "meta"
    assert named.teachers.meta is not None


def test_where_no_client_has_a_generator_nothing_is_measured() -> None:
    silent = replace(client(0, [5, 5], channels=3), generator=None, generator_spec=None)
    assert learn([silent]).samples == {"generators": 0, "prior": 30}


def test_where_nobody_can_be_asked_the_student_stands_beside_every_ensemble(monkeypatch: pytest.MonkeyPatch) -> None:
    """On samples, once: a stage of the journal. With a judge it is not."""
    measured(monkeypatch, 0.96)
    pair = [client(0, [5, 5]), client(1, [5, 5])]
    journal = Journal()
    config = Config().with_values(QUICK)
    blind = distill(pair, config, CPU, journal)
    ensembles = {"meta", "class_balanced", "class_evened", "class_weighted"}
    assert blind.choice["teachers_on_samples"].keys() == ensembles
    assert 0 <= blind.choice["student_on_samples"] <= 1
    figures = {"teachers_on_samples", "student_on_samples"}
    assert journal.done["standing"].info == {key: blind.choice[key] for key in figures}
    monkeypatch.setattr("mosaic_fl.server.distill.sample_accuracies", None)  # nothing is measured again
    assert distill(pair, config, CPU, journal).choice == blind.choice
    judged = distill(pair, config, CPU, Journal(), judge=lambda _: 0.5)
    assert not judged.choice.keys() & figures
    assert all(torch.equal(judged.model.state[name], tensor) for name, tensor in blind.model.state.items())


def test_without_generators_no_student_is_measured() -> None:
    silent = replace(client(0, [5, 5]), generator=None, generator_spec=None)
    blind = learn([silent], **{"distill.prior": "photos"})
    assert not blind.choice.keys() & {"teachers_on_samples", "student_on_samples"}
