"""LiRA on the generator: shadow generators tell what is near to any generator from what this one has seen."""

from dataclasses import replace

import pytest
import torch

from mosaic_fl.client.audit_gate import trainer
from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.privacy.audit.attacks.lira_generator import lira_generator
from mosaic_fl.privacy.audit.attacks.nearest import nearest
from mosaic_fl.privacy.audit.case import Case, Pair, Shadows
from mosaic_fl.privacy.audit.figures import area

SETTINGS = Config().with_values(
    {
        "generator.steps": 400, "generator.width": 8, "generator.perceptual": 0, "train.max_steps": 5,
        "train.min_steps": 5, "data.validation": 0,
    }
)  # fmt: skip
FEW = 60


@pytest.fixture(scope="module")
def parts(digits: Dataset) -> tuple[Dataset, Dataset, Dataset]:
    """Members, strangers and others: 60 digits each, in no order of writers."""
    order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(0))
    members, strangers, others = (digits.subset(order[FEW * part : FEW * (part + 1)]) for part in range(3))
    return members, strangers, others


def sent_by(data: Dataset, settings: Config = SETTINGS) -> Contribution:
    return trainer(torch.device("cpu"))(Site(0, data, "mlp:4"), settings)


def case_of(sent: Contribution, parts: tuple[Dataset, Dataset, Dataset], seconds: float = 20) -> Case:
    members, strangers, _ = parts
    return Case(sent, members, strangers, Stream(0, "audit", 0), seconds, shadows=Shadows(1, SETTINGS.generator))


def auc(scores: Pair | str) -> float:
    assert not isinstance(scores, str)
    return area(*(part.double().numpy() for part in scores), Stream(0, "area").numpy()).value


def test_an_overfitted_generator_is_caught_more_surely(parts: tuple[Dataset, Dataset, Dataset]) -> None:
    """400 steps on 60 samples are 400 passes. Calibration takes away what is easy to draw for any generator."""
    case = case_of(sent_by(parts[0]), parts)
    assert auc(lira_generator(case)) > auc(nearest(case)) + 0.03 > 0.8


def test_a_generator_of_others_tells_nothing(parts: tuple[Dataset, Dataset, Dataset]) -> None:
    """It saw neither side; 60 scores a side have an interval of ± 0.1 around one half."""
    quick = SETTINGS.with_values({"generator.steps": 100})
    sent = replace(sent_by(parts[2], quick), class_counts=parts[0].class_counts())
    case = replace(case_of(sent, parts), shadows=Shadows(1, quick.generator))
    assert auc(lira_generator(case)) == pytest.approx(0.5, abs=0.1)


def test_why_it_does_not_apply(parts: tuple[Dataset, Dataset, Dataset]) -> None:
    bare = Config().with_values({"generator.family": "none", "train.max_steps": 5, "train.min_steps": 5})
    none = sent_by(parts[0], bare)
    assert lira_generator(case_of(none, parts)) == "it sends no generator"
    sent = sent_by(parts[0], SETTINGS.with_values({"generator.steps": 1}))
    assert lira_generator(replace(case_of(sent, parts), shadows=None)) == (
        "no shadow generators are asked for (audit.shadows)"
    )
    assert lira_generator(case_of(sent, parts, seconds=0.01)) == "shadow generators take longer than 0.01 s"
