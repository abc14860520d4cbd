"""A class of which a part of the samples is contradicted counts, and each of its samples only with others' word."""

import json
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import mosaic_fl
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.vector import Vector
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.server.experts import MixtureOfExperts
from mosaic_fl.server.joining import sampler_of
from mosaic_fl.server.sieve import Sieve, sieve_of, sifted_sampler_of
from mosaic_fl.server.trust.agreement import Agreement
from mosaic_fl.server.trust.judgement import judge
from mosaic_fl.server.trust.report import ACCEPTED, TrustReport
from mosaic_fl.server.trust.sifting import mixed
from mosaic_fl.server.trust.survey import Survey
from test_trust_credit import examined
from trust_cases import client, clouds, told

CPU = torch.device("cpu")
LIAR = 4


def survey(contradicted: int, claimed: int = 20, holders: int = 4) -> Survey:
    """Five clients; the others, of whom so many hold class 0, call so many of the liar's 20 samples of it class 2."""
    seen = told([(20, 20, 20, 20)] * 5, [lambda y: y] * 5)
    rows = ((seen.sources == LIAR) & (seen.labels == 0)).nonzero().flatten()[:contradicted]
    readings = seen.readings.clone()
    readings[rows, :LIAR] = 2
    counts = seen.counts.clone()
    counts[LIAR, 0] = claimed
    counts[holders:LIAR, 0] = 0
    return replace(seen, readings=readings, counts=counts)


@pytest.mark.parametrize(
    ("seen", "cells"),
    [
        (survey(2), {(LIAR, 0)}),  # a tenth
        (survey(20), {(LIAR, 0)}),
        (survey(1), set()),  # a twentieth: any generator may
        (survey(0), set()),
        (survey(2, claimed=5), {(LIAR, 0)}),
        (survey(2, claimed=4), set()),
        (survey(2, holders=2), {(LIAR, 0)}),
        (survey(2, holders=1), set()),  # one against one proves nothing
    ],
)
def test_which_classes_are_sifted(seen: Survey, cells: set[tuple[int, int]]) -> None:
    assert mixed(Agreement(seen, torch.ones(seen.counts.shape, dtype=torch.float64))) == cells


def test_samples_of_several_fields_are_not_sifted_so_it_is_not_said() -> None:
    """A fifth of the samples of a class is contradicted: sifted where they have one field."""
    seen = survey(4)
    trust = torch.ones(seen.counts.shape, dtype=torch.float64)
    for fields in (("a",), ("a", "b")):
        kinds = {name: Vector(2) for name in fields}
        samples = Samples(kinds, {name: torch.zeros(len(seen.labels), 2) for name in fields})
        judged = judge(replace(seen, samples=samples), trust)
        assert judged.mixed == ({(LIAR, 0)} if len(fields) == 1 else set())


def test_a_generator_whose_own_model_is_not_sure_either_is_weak_and_no_liar() -> None:
    seen = survey(20)
    seen.readings[(seen.sources == LIAR) & (seen.labels == 0), LIAR, 1] = 2  # by one of two readings
    assert mixed(Agreement(seen, torch.ones(seen.counts.shape, dtype=torch.float64))) == set()


def test_colluders_vouch_for_each_other_only_where_they_are_most() -> None:
    """Two of four other holders agree with it: half, so it stays."""
    seen = survey(20)
    seen.readings[(seen.sources == LIAR) & (seen.labels == 0), 2:4] = 0
    assert mixed(Agreement(seen, torch.ones(seen.counts.shape, dtype=torch.float64))) == set()


def partly(labels: Tensor) -> Tensor:
    """Class 3 as class 0."""
    return labels.masked_fill(labels == 3, 0)


@pytest.fixture(scope="module")
def five() -> list[Contribution]:
    return [*(client(k) for k in range(4)), client(LIAR, lie=partly)]


def test_samples_that_others_call_otherwise_are_left_out_and_all_else_stays(five: list[Contribution]) -> None:
    """The liar's class 0 lies half way to the corner of class 3: what others know as theirs goes."""
    experts = MixtureOfExperts.of(five).experts
    sieve = Sieve({LIAR: (0,)}, {c.client: c.class_counts for c in five})
    plain = sampler_of(five, CPU, experts).draw(2000, Stream(0, "t"))
    sifted = sifted_sampler_of(five, CPU, experts, sieve).draw(2000, Stream(0, "t"))
    suspect = (plain.sources == LIAR) & (plain.labels == 0)
    left = (sifted.sources == LIAR) & (sifted.labels == 0)
    assert 10 < int(left.sum()) < int(suspect.sum()) - 10
    assert torch.equal(plain.samples[~suspect].only, sifted.samples[~left].only)
    assert torch.equal(plain.labels[~suspect], sifted.labels[~left])
    corners = 8.0 * torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    nearest = torch.cdist(sifted.samples[left].only.float(), corners).argmin(1)
    assert float((nearest == 0).float().mean()) > 0.9


def test_who_has_no_model_has_no_vote(five: list[Contribution]) -> None:
    """Client 0 draws class 3 well, and two others call it so. Three sites without a model say one class of anything."""
    few = {"generator.family": "moments", "data.validation": 0.0}
    mute = [mosaic_fl.contribute(clouds((20,) * 4, k), model="none", client=k, settings=few) for k in (5, 6, 7)]

    def left(contributions: list[Contribution]) -> tuple[int, int]:
        """How many samples of client 0's class 3 there are, and how many of them the sieve leaves."""
        experts = MixtureOfExperts.of(contributions).experts
        sieve = Sieve({0: (3,)}, {c.client: c.class_counts for c in contributions})
        samplers = (
            sampler_of(contributions, CPU, experts),
            sifted_sampler_of(contributions, CPU, experts, sieve),
        )
        pools = [sampler.draw(2000, Stream(0, "t")) for sampler in samplers]
        before, after = (int(((pool.sources == 0) & (pool.labels == 3)).sum()) for pool in pools)
        return before, after

    before, after = left([*five[:3], *mute])
    assert before == after > 50
    alone = left([five[0], *mute])
    assert alone[0] == alone[1]  # no two others have a voice, so nothing is sifted


def test_a_report_says_so_and_nothing_else_changes(five: list[Contribution]) -> None:
    report = examined(five)
    if report.of(LIAR).state == ACCEPTED:
        assert report.sifted == {LIAR: (0,)}
        assert report.of(LIAR).doubts == ("of its samples of 'a' those count that most other holders call so",)
    assert TrustReport.from_json(json.loads(json.dumps(report.to_json()))) == report
    assert examined(five, keep=[LIAR]).sifted == {}
    assert sieve_of(five, None) is None
    assert sieve_of(five[:4], examined(five[:4])) is None
