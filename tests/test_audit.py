"""The figures of an audit, worked by hand, and what it refuses."""

from math import sqrt

import numpy as np
import pytest
import torch

from mosaic_fl.domains.dataset import Dataset, image_dataset
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution, no_prototypes
from mosaic_fl.models.registry import build
from mosaic_fl.notes import Note
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.privacy.audit.audit import audit
from mosaic_fl.privacy.audit.figures import area, caught, newcombe, risk
from mosaic_fl.privacy.audit.finding import Audit, Finding
from mosaic_fl.privacy.audit.matching import matched
from mosaic_fl.privacy.audit.overlap import require_apart, without_twins

FINDING = Finding("nearest", "generator", 0.7, 0.6, 0.8, 0.2, None, 0.1, -0.1, 0.3, 100, 50, 1.5)


def scores(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def test_area_counts_pairs() -> None:
    """3 beats all three strangers; 1 beats 0, ties with 1 and loses to 2: 4.5 of 6 pairs."""
    found = area(scores(3, 1), scores(2, 0, 1), np.random.default_rng(0))
    assert found.value == pytest.approx(0.75)
    assert found.low < 0.75 < found.high


def test_a_perfect_separation_has_an_interval() -> None:
    """All resamples give 1; Newcombe's end θ solves 1 − θ = 1.96·√V(θ), with N = 19 of 20 and 20 scores."""
    found = area(np.arange(20.0) + 100, np.arange(20.0), np.random.default_rng(0))
    low = found.low
    variance = low * (1 - low) * (1 + 19 * (1 - low) / (2 - low) + 19 * low / (1 + low)) / 400
    assert found.value == found.high == 1
    assert 1 - low == pytest.approx(1.959964 * sqrt(variance), abs=1e-6)
    assert 0.7 < low < 0.99


def test_an_interval_of_chance_is_symmetric_and_shrinks() -> None:
    wide = newcombe(0.5, 25, 25)
    narrow = newcombe(0.5, 100, 100)
    assert sum(wide) == pytest.approx(1)
    assert wide[0] < narrow[0] < 0.5 < narrow[1] < wide[1]
    assert narrow[1] == pytest.approx(0.58, abs=0.005)  # 1.96·√(201/(12·100·100)) = 0.080


def test_the_interval_covers_chance() -> None:
    """Of 200 audits of scores that tell nothing 95 % of intervals hold 0.5; fewer than 90 % would be a fault."""
    rng = np.random.default_rng(1)
    found = [area(rng.normal(size=40), rng.normal(size=30), rng) for _ in range(200)]
    assert sum(one.low <= 0.5 <= one.high for one in found) >= 185


def test_members_caught_at_few_false_alarms() -> None:
    """Of a hundred strangers one may be above the threshold, which is then 98."""
    strangers = np.arange(100.0)
    assert caught(scores(98.5, 99.5, 50, 100), strangers, 0.01) == 0.75
    assert caught(scores(98.5, 99.5, 50, 100), strangers, 0.001) is None


def test_risk_beyond_the_control() -> None:
    """One stranger of ten is above 8, and three members of five: (0.6 − 0.1)/(1 − 0.1)."""
    found = risk(scores(9, 9, 9, 0, 0), np.arange(10.0))
    assert found.value == pytest.approx(5 / 9)
    assert found.low < 5 / 9 < found.high <= 1


def test_json_round_trip() -> None:
    made = Audit((FINDING,), (("lira", "it takes too long"),), "the validation split")
    assert Audit.from_json(made.to_json()) == made


@pytest.mark.parametrize(
    "change",
    [
        {"auc": 0.9},
        {"auc": "0.7"},
        {"attack": ""},
        {"members": True},
        {"tpr_1": "x"},
        {"low": float("nan")},
        {"on": "a\n"},
    ],
)
def test_json_from_anywhere(change: dict[str, object]) -> None:
    made = Audit((FINDING,)).to_json()
    made["findings"][0] |= change
    with pytest.raises(UsageError, match="finding"):
        Audit.from_json(made)


def test_the_worst_is_the_one_that_may_be_largest() -> None:
    """A wide interval ends higher than a narrow one around a larger figure."""
    wide = Finding("loss", "expert", 0.65, 0.4, 0.9, None, None, 0.1, 0, 0.2, 20, 20)
    assert Audit((FINDING, wide)).worst == wide
    assert Audit(()).worst is None


def sent(data: Dataset) -> Contribution:
    """An untrained expert alone."""
    with Stream(0, "test").ambient():
        state = copy_state(build("cnn:2", data.schema))
    return Contribution(0, data.schema, "cnn:2", state, data.class_counts(), no_prototypes(), {})


def test_strangers_that_are_members(digits: Dataset) -> None:
    with pytest.raises(UsageError, match="5 of 45 strangers are in the training data"):
        audit(sent(digits), digits.subset(range(60)), digits.subset(range(55, 100)), 0)


def test_rows_that_are_alike_by_chance(schema: Schema) -> None:
    """Images of one of two grey values are all twins: no hold-out of them can be told from the training data."""
    values = (torch.arange(60) % 2).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 8, 8).contiguous()
    data = image_dataset(values, torch.arange(60) % 3, schema)
    require_apart(data.subset(range(30)), data.subset(range(30, 60)))
    with pytest.warns(Note, match="30 of 30 strangers"):
        assert len(without_twins(data.subset(range(30)), data.subset(range(30, 60)))) == 0


def test_too_few_strangers(digits: Dataset) -> None:
    with pytest.raises(UsageError, match="19 strangers are too few for an interval"):
        audit(sent(digits), digits.subset(range(60)), digits.subset(range(60, 79)), 0)


def test_another_schema(digits: Dataset, schema: Schema) -> None:
    other = image_dataset(torch.zeros(30, 1, 8, 8, dtype=torch.uint8), torch.zeros(30, dtype=torch.int64), schema)
    with pytest.raises(UsageError, match="the strangers have 3 classes"):
        audit(sent(digits), digits.subset(range(60)), other, 0)


def test_strangers_have_the_members_shares_of_classes(digits: Dataset, schema: Schema) -> None:
    """Of 20 and 10 members and 30 and 40 strangers: t = min(30/20, 40/10) = 1.5, so 30 and 15 stay."""

    def of(*counts: int) -> Dataset:
        labels = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])
        return image_dataset(torch.zeros(len(labels), 1, 8, 8, dtype=torch.uint8), labels, schema)

    assert matched(of(20, 10), of(30, 40, 5), Stream(0, "test")).class_counts().tolist() == [30, 15, 0]
    with pytest.warns(Note, match="other shares of classes"):
        assert len(matched(of(20, 10), of(2, 40), Stream(0, "test"))) == 42
