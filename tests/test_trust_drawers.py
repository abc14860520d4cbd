"""Who cannot be asked about draws nobody else out of the survey: generators without a class, and none at all."""

import warnings
from dataclasses import replace

import pytest
import torch

from mosaic_fl.config import Config
from mosaic_fl.domains.schema import Schema
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.generators.base import Generator, GeneratorSpec
from mosaic_fl.generators.family import no_join
from mosaic_fl.notes import Note
from mosaic_fl.registries import GENERATORS
from mosaic_fl.server.experts import MixtureOfExperts
from mosaic_fl.server.joining import sampler_of
from mosaic_fl.server.trust import circles, survey
from mosaic_fl.server.trust.report import ACCEPTED, QUARANTINED, TrustReport
from mosaic_fl.server.trust.vet import NOBODY_DRAWS, examine
from trust_cases import client, flip

CPU = torch.device("cpu")
CLASSLESS = "classless"  # draws as `moments` does, and says of itself that it takes no class


@pytest.fixture(autouse=True)
def _classless(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = GENERATORS["moments"]

    def build(spec: GeneratorSpec, schema: Schema) -> Generator:
        generator = plain.build(replace(spec, family="moments"), schema)
        generator.conditional = False
        return generator

    monkeypatch.setitem(GENERATORS, CLASSLESS, replace(plain, conditional=False, build=build, join=no_join))


@pytest.fixture(scope="module")
def five() -> list[Contribution]:
    """Client 0 flips its classes, the other four are honest."""
    return [client(0, lie=flip), *(client(k) for k in range(1, 5))]


def classless(contribution: Contribution) -> Contribution:
    assert contribution.generator_spec is not None
    return replace(contribution, generator_spec=replace(contribution.generator_spec, family=CLASSLESS))


def without_generator(contribution: Contribution) -> Contribution:
    return replace(contribution, generator=None, generator_spec=None, generator_note="none")


def examined(contributions: list[Contribution]) -> TrustReport:
    experts = MixtureOfExperts.of(contributions).experts
    return examine(contributions, experts, lambda: sampler_of(contributions, CPU, experts), Config(), CPU)


def test_one_generator_without_a_class_hides_no_liar(five: list[Contribution]) -> None:
    """Its model is judged by four generators' samples; of its own samples nobody is asked."""
    report = examined([*five[:4], classless(five[4])])
    assert [v.client for v in report.in_state(QUARANTINED)] == [0]
    assert [v.client for v in report.in_state(ACCEPTED)] == [1, 2, 3, 4]
    honest = report.of(4)
    assert honest.model is not None
    assert honest.model > 0.9
    assert honest.samples is None
    assert honest.unmeasured == "its generator takes no class: what its samples show is the word of its own model"


def test_whoever_draws_without_a_class_is_judged_as_one_without_a_generator(five: list[Contribution]) -> None:
    """The liar's own samples are its own model's word, so they prove nothing. Its model is held against the others'."""
    mute = examined([without_generator(five[0]), *five[1:]])
    report = examined([classless(five[0]), *five[1:]])
    assert [replace(v, unmeasured="") for v in report.verdicts] == [replace(v, unmeasured="") for v in mute.verdicts]
    assert report.of(0).state == QUARANTINED


def test_where_no_generator_takes_a_class_nobody_is_compared_and_a_note_says_so(five: list[Contribution]) -> None:
    with pytest.warns(Note, match="5 of 5 clients are compared with nobody: no generator"):
        report = examined([classless(c) for c in five])
    assert report.changes_nothing
    assert report.usual is None
    assert {v.unmeasured for v in report.verdicts} == {NOBODY_DRAWS}


def test_who_draws_classes_gets_no_note(five: list[Contribution]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Note)
        examined(five)


def test_where_classes_are_too_many_each_generator_draws_some(
    five: list[Contribution], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five clients of four classes, 20 samples each, are 400. Of 300 each client draws 60, which are three classes."""
    experts = MixtureOfExperts.of(five).experts
    counts = torch.stack([c.class_counts for c in five])
    whole = survey.survey(sampler_of(five, CPU, experts), experts, counts, 0, CPU)
    assert whole.drawn.tolist() == [[20] * 4] * 5
    monkeypatch.setattr(survey, "MOST_IN_ALL", 300)
    part = survey.survey(sampler_of(five, CPU, experts), experts, counts, 0, CPU)
    assert [sorted(row) for row in part.drawn.tolist()] == [[0, 20, 20, 20]] * 5
    assert [v.client for v in examined(five).in_state(QUARANTINED)] == [0]


def test_a_circle_without_a_generator_is_told_and_the_others_are_compared(
    five: list[Contribution], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five clients in circles of three and two: the two have no generator, the three are seen as ever."""
    monkeypatch.setattr(circles, "CIRCLE", 3)
    three, two = circles.circles(5, 0)
    mute = [without_generator(c) if k in two else c for k, c in enumerate(five)]
    with pytest.warns(Note, match="2 of 5 clients are compared with nobody: no generator"):
        report = examined(mute)
    assert [v.client for v in report.verdicts] == [0, 1, 2, 3, 4]
    assert [k for k in range(5) if report.of(k).unmeasured == NOBODY_DRAWS] == two
    assert three == [0, 1, 4]
    assert [v.client for v in report.in_state(QUARANTINED)] == [0]  # the liar is among the three, and seen there
