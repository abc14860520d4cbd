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


@pytest.mark.parametrize(("answers", "share"), [((0, 1), 1.0), ((0, 0), 0.5), ((1, 0), 0.0)])
def test_the_share_is_of_samples_that_the_own_expert_takes_for_their_class(
    answers: tuple[int, int], share: float
) -> None:
    """Client 3 draws class 0 alone and client 7 class 1 alone, half of the samples each."""
    sampler = Sampler([client(3, [5, 0]), client(7, [0, 5])], CPU)
    measure = recognition(sampler, [Stubborn(label) for label in answers], 0, CPU)
    assert measure.mean == share
    assert measure.rates[0, 0] == float(answers[0] == 0)
    assert measure.rates[1, 1] == float(answers[1] == 1)


def test_a_class_of_few_samples_has_about_its_clients_rate() -> None:
    # Client 0 is right in 30 of 40 samples: 0.75. Of class 1 it drew 10, all right: (10 + 10 · 0.75) / (10 + 10).
    right = torch.tensor([[20.0, 10.0, 0.0], [0.0, 0.0, 0.0]])
    drawn = torch.tensor([[30.0, 10.0, 0.0], [0.0, 0.0, 0.0]])
    measure = rates(right, drawn)
    assert measure.mean == 0.75
    assert measure.rates[0].tolist() == pytest.approx([27.5 / 40, 17.5 / 20, 0.75])
    assert measure.rates[1].tolist() == pytest.approx([0.75] * 3)  # who drew nothing has the mean of all


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
    assert weak.choice == {"teacher": "class_balanced", "label": 0.5, "terms": 1}
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
