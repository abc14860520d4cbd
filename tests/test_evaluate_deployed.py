"""A deployed site scores the global model beside its own when it gets it, where its limits let figures leave."""

from pathlib import Path

import pytest

pytest.importorskip("flwr", reason="the flower extra is not installed")

from mosaic_fl.config.site_limits import SiteLimits
from mosaic_fl.engines.flower import codec
from mosaic_fl.engines.flower.answer_codec import decode_counts, decode_scores, encode_result
from mosaic_fl.engines.flower.codec import Deliver
from mosaic_fl.engines.tasks import ContributeTask
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.models import build
from mosaic_fl.numerics.states import copy_state
from test_private_contribution import clouds
from test_site_custody import ask, desk, events


@pytest.fixture(scope="module")
def delivery() -> Deliver:
    schema = clouds().schema
    return Deliver(GlobalModel("mlp:4", schema, copy_state(build("mlp:4", schema))).to_bytes())


def test_scores_come_with_the_delivery_where_figures_may_leave(
    tmp_path: Path, delivery: Deliver, caplog: pytest.LogCaptureFixture
) -> None:
    place = desk(tmp_path, SiteLimits(figures=True, min_cluster=2))
    with caplog.at_level("INFO", "mosaic_fl.client"):
        ask(place, ContributeTask(0))
        answer = ask(place, delivery)
    scores = decode_scores(answer.body, 0, 3)
    confusion = decode_counts(answer.body, 3, 3)
    assert scores is not None
    assert [model.model for model in scores.models] == ["global", "own"]
    assert (scores.samples, scores.least) == (int(confusion.sum()), 2)
    assert scores.models[0].accuracy == pytest.approx(int(confusion.diagonal().sum()) / scores.samples)
    assert any("points of accuracy" in record.message for record in caplog.records)
    assert [event.get("kind") for event in events(tmp_path)][-1] == "judgement"
    with pytest.raises(UsageError, match="scores of client 0"):
        decode_scores(answer.body, 1, 3)


def test_the_default_limits_let_counts_by_class_leave_alone(tmp_path: Path, delivery: Deliver) -> None:
    place = desk(tmp_path)
    ask(place, ContributeTask(0))
    answer = ask(place, delivery)
    assert decode_scores(answer.body, 0, 3) is None
    assert int(decode_counts(answer.body, 3, 3).sum()) > 0


def test_a_site_without_a_contribution_scores_the_global_model_alone(tmp_path: Path, delivery: Deliver) -> None:
    answer = ask(desk(tmp_path, SiteLimits(figures=True, min_cluster=2)), delivery)
    scores = decode_scores(answer.body, 0, 3)
    assert scores is not None
    assert [model.model for model in scores.models] == ["global"]


def test_an_answer_of_an_older_version_has_no_scores(delivery: Deliver) -> None:
    import torch

    body = encode_result(torch.zeros(3, 3, dtype=torch.int64))
    assert decode_scores(body, 0, 3) is None
    assert codec.NAMES[Deliver] == "deliver"
