"""Samples of several fields over both engines: the same bytes; and a whole run on the command line."""

import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("flwr", reason="the flower extra is not installed")

from command import mosaic
from flower_bench import CPU, QUICK, Bench
from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.engines.local import LocalFederation
from mosaic_fl.exchange.federation import FitJob
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.models import build
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.storage.journal import Journal
from views import FEW, only, views

SETTINGS = {name: value for name, value in QUICK.items() if name != "generator.family"}


@pytest.fixture(scope="module")
def sites(digits: Dataset) -> list[Site]:
    """Three clients: of both halves, of the left one, of the table."""
    data = views(digits, 180)
    held = [("fusion:4", ("left", "right")), ("cnn:4", ("left",)), ("mlp:8", ("table",))]
    parts = [only(data.subset(range(60 * k, 60 * k + 60)), *fields) for k, (_, fields) in enumerate(held)]
    return [Site(k, part, held[k][0]) for k, part in enumerate(parts)]


def test_flower_carries_what_the_local_engine_does(
    sites: list[Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contributions, rounds of averaging of networks that join fields, and what clients say of a model."""
    monkeypatch.setattr("flower_bench.QUICK", SETTINGS)
    clients = Bench(sites, tmp_path).open()
    torch.manual_seed(0)
    state = copy_state(build("fusion:4", clients.schema))
    jobs = [FitJob(k, "fusion:4", state, {"lr": 1e-3}) for k in range(3)]
    with LocalFederation(sites, Config().with_values(SETTINGS), CPU, Journal()) as local:
        theirs = local.contribute()
        fitted = local.fit(jobs, 0)
        confusions = local.evaluate("fusion:4", state)
    ours = clients.contribute()
    assert [c.fields for c in ours] == [("left", "right"), ("left",), ("table",)]
    assert [c.to_bytes() for c in ours] == [c.to_bytes() for c in theirs]
    for own, other in zip(clients.fit(jobs, 0), fitted, strict=True):
        assert all(torch.equal(own.state[name], tensor) for name, tensor in other.state.items())
    for own_matrix, matrix in zip(clients.evaluate("fusion:4", state), confusions, strict=True):
        assert torch.equal(own_matrix, matrix)


def test_the_command_runs_clients_with_some_of_the_fields(tmp_path: Path) -> None:
    """One client has both halves, one the left, one the table; a forest and networks; one model of any subset."""
    words = ["--data", "digits-views", "--client-fields", "left+right,left,table", "--clients", "3", "--seed", "1"]
    words += ["--models", "fusion:8,cnn:4,random_forest:5", "--out", "run", "--set", "run.workers=1"]
    settings = [part for name, value in FEW.items() for part in ("--set", f"{name}={value}")]
    out = mosaic("run", *words, *settings, cwd=tmp_path)
    lines = [line for line in out.splitlines() if line.startswith("With ")]
    assert [line.partition(":")[0] for line in lines] == [
        "With left alone", "With right alone", "With table alone", "With left and right", "With left and table",
        "With right and table", "With left, right and table",
    ]  # fmt: skip
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert [row["samples"] for row in result["by_fields"]] == [355] * 7
    assert result["by_fields"][-1]["accuracy"] == result["accuracy"]
    assert len(result["local_accuracy"]) == 3
    model = GlobalModel.load(tmp_path / "run")
    assert model.architecture == "fusion:128"
    assert model.state["seen"].tolist() == [1, 1, 1]
