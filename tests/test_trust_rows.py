"""Of rows it is told what others say of a client, and nothing follows: honest sites differ there as liars do."""

from dataclasses import replace

import pytest
import torch

import mosaic_fl
from mosaic_fl.config import Config
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.vector import Vector
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.server.experts import MixtureOfExperts
from mosaic_fl.server.joining import sampler_of
from mosaic_fl.server.trust.comparable import is_comparable
from mosaic_fl.server.trust.report import ACCEPTED, QUARANTINED, TrustReport, verdict_lines
from mosaic_fl.server.trust.vet import examine
from table_cases import patients
from trust_cases import clouds

CPU = torch.device("cpu")
STEPS = {"train.max_steps": 60, "train.min_steps": 60, "train.lr": 0.01}
FEW = {"generator.family": "cart", "data.validation": 0.0, **STEPS}


def client(number: int, *, lies: bool = False) -> Contribution:
    data = patients(80, seed=number)
    data = replace(data, labels=1 - data.labels) if lies else data
    return mosaic_fl.contribute(data, model="mlp:16", client=number, settings=FEW)


@pytest.fixture(scope="module")
def flipped() -> list[Contribution]:
    """Five sites, of which the last one has its two classes exchanged."""
    return [*(client(k) for k in range(4)), client(4, lies=True)]


def report(contributions: list[Contribution], *, strict: bool = False) -> TrustReport:
    config = Config().with_values({"trust.strict": strict})
    mixture = MixtureOfExperts.of(contributions)
    return examine(contributions, mixture.experts, lambda: sampler_of(contributions, CPU, mixture.experts), config, CPU)


def test_a_contradicted_site_with_rows_counts_and_is_named(flipped: list[Contribution]) -> None:
    found = report(flipped)
    assert found.changes_nothing
    assert found.of(4).state == ACCEPTED
    assert "of rows this is only told, and --strict leaves it out" in found.of(4).doubts[0]
    assert any("client 4" in line for line in verdict_lines(found))


def test_strict_leaves_it_out(flipped: list[Contribution]) -> None:
    found = report(flipped, strict=True)
    assert [v.client for v in found.in_state(QUARANTINED)] == [4]


def test_what_is_comparable() -> None:
    rows = patients(4).schema
    assert not is_comparable(rows)
    assert is_comparable(clouds((1, 1, 1, 1), 0).schema)
    assert not is_comparable(Schema({"vector": Vector(3, "encoding", "0" * 64, rows.kind)}, rows.classes))
