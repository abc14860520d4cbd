"""Settings of a grid at once, each in its own process: accuracies, bytes, and a fault that costs its cell alone."""

import json
import multiprocessing
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from command import fails, mosaic
from grids import COMPARE, SOME, figures
from mosaic_fl.comparison.grid import Grid
from mosaic_fl.comparison.jobs import context_for, longest_first
from mosaic_fl.comparison.plan import make_plan
from mosaic_fl.methods import METHODS
from mosaic_fl.models.own import admissions

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only forked processes see what a test has patched")
WORDS = [*SOME, "--seeds", "0", "--out", "grid"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "grid"


def test_the_same_figures_for_any_number_of_jobs(
    capsys: pytest.CaptureFixture[str], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what was finished before a process died is not done again."""

    def dies(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patch:
        patch.setitem(METHODS, "fedavg", replace(METHODS["fedavg"], code=dies))
        line = fails(capsys, *WORDS, "--jobs", "2", code=1)
    assert line.startswith("a process of the comparison died (out of memory?); what was finished is kept")
    before = {path: path.stat().st_mtime_ns for path in here.glob("cells/[!.]*")}
    mosaic(*WORDS, "--jobs", "2", "--resume", cwd=here.parent)
    assert all(path.stat().st_mtime_ns == at for path, at in before.items())
    assert not list((here / "shared").iterdir())
    at_once = figures(here)
    mosaic(*WORDS, "--jobs", "1", "--force", cwd=here.parent)
    assert figures(here) == at_once
    assert len(at_once) == 10


def test_the_longest_settings_of_a_seed_begin_first() -> None:
    values = {"data.max_train": 120, "data.max_test": 40}
    plan = make_plan(Grid(["mosaic", "fedavg"], [2], [0.1, 1.0], ["mixed", "equal"], [1], [3, 0], values=values))
    order = [(s.seed, s.architectures, s.alpha) for s in longest_first(plan, plan.grid.settings())]
    # With mixed architectures FedAvg cannot run, so these are one cell each and not two.
    one_seed = [("equal", 0.1), ("equal", 1.0), ("mixed", 0.1), ("mixed", 1.0)]
    assert order == [(seed, *setting) for seed in (3, 0) for setting in one_seed]


def test_only_what_computes_on_a_cpu_is_forked() -> None:
    """Who finds an accelerator has begun CUDA, which no forked process can use."""
    begun = {kind: context_for(torch.device(kind), 1).get_start_method() for kind in ("cpu", "cuda", "mps")}
    assert begun == {"cpu": "fork", "cuda": "spawn", "mps": "spawn"}


def test_threads_of_the_parent_do_not_stop_its_processes(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forked process that asks for OpenMP's threads, after its parent had some, waits for them for ever."""
    for name in list(admissions().factories):
        monkeypatch.delitem(admissions().factories, name)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        torch.randn(256, 256).exp().sum()  # begins them
        words = ["--methods", "mean_logits", "--seeds", "0", "--set", "run.threads=2", "--out", "grid"]
        mosaic(*COMPARE, *words, "--jobs", "2", cwd=here.parent)
    finally:
        torch.set_num_threads(before)
    assert len(figures(here)) == 2


def test_spawned_processes_give_the_same_figures(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Functions of other tests cannot be sent to a process that does not know them.
    for name in list(admissions().factories):
        monkeypatch.delitem(admissions().factories, name)
    words = [*COMPARE, "--methods", "mosaic", "--seeds", "0", "--out", "grid"]  # two settings: equal and mixed
    with monkeypatch.context() as patch:
        patch.setattr("mosaic_fl.comparison.jobs.context_for", lambda *_: multiprocessing.get_context("spawn"))
        mosaic(*words, "--jobs", "2", cwd=here.parent)
    spawned = figures(here)
    mosaic(*words, "--workers", "1", "--force", cwd=here.parent)
    assert figures(here) == spawned
    assert len(spawned) == 2


def test_one_fault_costs_its_cells_alone(
    capsys: pytest.CaptureFixture[str], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("out of\nmemory")

    with monkeypatch.context() as patch:
        patch.setitem(METHODS, "fedavg", replace(METHODS["fedavg"], code=broken))
        line = fails(capsys, *WORDS, "--jobs", "2", code=1)
    assert "fedavg" in line
    assert "out of memory; --resume tries again" in line
    states = [cell["status"] for cell in json.loads((here / "table.json").read_text())["cells"]]
    assert sorted(set(states)) == ["cannot", "done", "failed"]
    assert states.count("failed") == 2
