"""Boosting over messages: requests come back as they went, and hostile requests and answers are refused."""

from typing import Any

import pytest
import torch

pytest.importorskip("flwr", reason="the flower extra is not installed")

from mosaic_fl.config import Config
from mosaic_fl.domains.schema import Schema
from mosaic_fl.engines.flower import codec
from mosaic_fl.engines.flower.boost_codec import boosted_answer
from mosaic_fl.engines.tasks import BoostTask
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.federation import MAX_SUM, GrowJob, SumJob
from mosaic_fl.experts.bins import bins_of
from mosaic_fl.experts.ensemble import empty, to_state
from table_cases import SCHEMA

TWO = Schema(SCHEMA.fields, ("ill", "well"))
LEAF = {"value": torch.tensor([0.5]), "outputs": torch.tensor([1])}
LEAF |= {name: torch.zeros(1, dtype=torch.int64) for name in ("roots", "feature", "left", "right")}
GROW = GrowJob(to_state(empty(2)), {"rate": 0.3, "rows": 0.5})
SUMS = SumJob(to_state(empty(2)), LEAF, torch.tensor([0]), 16)
MANIFEST = {"samples": 7, "validation": {"loss": 0.5, "samples": 3.0}}


@pytest.mark.parametrize("job", [GROW, SUMS])
def test_a_request_comes_back_as_it_went(job: GrowJob | SumJob) -> None:
    work, _ = codec.decode("boost", codec.encode(BoostTask(4, job, 2), Config()), 4)
    assert isinstance(work, BoostTask)
    assert (work.client, work.round, type(work.job)) == (4, 2, type(job))
    assert all(torch.equal(work.job.trees[name], tensor) for name, tensor in job.trees.items())
    if isinstance(job, SumJob):
        assert isinstance(work.job, SumJob)
        assert torch.equal(work.job.nodes, job.nodes)
        assert work.job.growing.keys() == job.growing.keys()
    else:
        assert isinstance(work.job, GrowJob)
        assert work.job.settings == job.settings


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (GrowJob(GROW.trees, {"depth": 99}), "boosting.depth"),
        (GrowJob(GROW.trees, {"nthread": 9}), "boosting.nthread"),
        (SumJob(SUMS.trees, LEAF, SUMS.nodes, 10**6), "boosting.bins"),
    ],
)
def test_settings_of_a_request_are_checked(job: GrowJob | SumJob, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        codec.decode("boost", codec.encode(BoostTask(0, job, 0), Config()), 0)


def sums(**changes: Any) -> dict[str, torch.Tensor]:
    good = torch.zeros(1, bins_of(TWO, 16).total, 2, dtype=torch.int64)
    return {"state/sums": good} | {name.replace("_", "/"): value for name, value in changes.items()}


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({}, "no sums of 1 nodes"),
        (sums(state_sums=torch.zeros(1, 3, 2, dtype=torch.int64)), "no sums of 1 nodes"),
        (sums(state_sums=sums()["state/sums"].float()), "no sums of 1 nodes"),
        (sums(state_more=torch.zeros(1)), "no sums of 1 nodes"),
        (sums(state_sums=sums()["state/sums"] - MAX_SUM - 1), "no rows can have"),
        (sums(state_sums=sums()["state/sums"] - 2**63), "no rows can have"),  # whose absolute value is no int64
    ],
)
def test_hostile_sums_are_refused(tensors: dict[str, torch.Tensor], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        boosted_answer(MANIFEST, tensors, 0, SUMS, TWO)


@pytest.mark.parametrize(
    "manifest",
    [
        {},
        MANIFEST | {"samples": 0},
        MANIFEST | {"samples": -1},
        MANIFEST | {"validation": {}},
        MANIFEST | {"validation": {"loss": 0.5}},
        MANIFEST | {"validation": {"loss": -1, "samples": 3}},
        MANIFEST | {"validation": {"loss": 1e9, "samples": 3}},
        MANIFEST | {"validation": {"loss": "x", "samples": 3}},
        MANIFEST | {"validation": {"loss": 0.5, "samples": float("nan")}},
        MANIFEST | {"validation": {"loss": 0.5, "samples": 3, "more": 1}},
    ],
)
def test_a_manifest_that_is_none_of_boosting_is_refused(manifest: dict[str, Any]) -> None:
    assert boosted_answer(MANIFEST, sums(), 5, SUMS, TWO).client == 5
    with pytest.raises(UsageError, match="not one of boosting"):
        boosted_answer(manifest, sums(), 0, SUMS, TWO)


def test_trees_of_other_classes_than_asked_are_refused() -> None:
    tensors = {f"state/{name}": tensor for name, tensor in LEAF.items()}
    assert boosted_answer(MANIFEST, tensors, 0, GROW, TWO).state.keys() == LEAF.keys()
    with pytest.raises(UsageError, match="one tree a class"):
        boosted_answer(MANIFEST, tensors, 0, GROW, SCHEMA)
    with pytest.raises(UsageError, match="are no trees"):
        boosted_answer(MANIFEST, sums(), 0, GROW, TWO)
