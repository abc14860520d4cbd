"""`--minutes` on the command line: the steps that it cuts, and a resume that does or does not repeat it."""

import io
import json
from pathlib import Path

import pytest

import mosaic_fl
from command import QUICK, fails, mosaic
from grids import COMPARE, figures
from mosaic_fl.comparison.grid import CENTRALISED, Cell, Grid
from mosaic_fl.comparison.plan import make_plan
from mosaic_fl.config import Config
from mosaic_fl.config.toml import from_toml
from mosaic_fl.data.export import save_parquet
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError
from mosaic_fl.forecast.forecast import Forecast, StageForecast
from mosaic_fl.forecast.grid_budget import share_within, with_share
from mosaic_fl.forecast.measure import Cost

LIMIT = ["--minutes", "1"]  # of which 51 s are planned for


def foreseen(monkeypatch: pytest.MonkeyPatch, command: str, *stages: tuple[str, float]) -> None:
    """Let the forecast of a command have these stages and seconds."""
    rows = tuple(StageForecast(name, 1, seconds) for name, seconds in stages)
    forecast = Forecast(1, 1, 1, sum(seconds for _, seconds in stages), 1, 1, 1, 1, 1, rows)
    for place in ("mosaic_fl.forecast.foresee", *(["mosaic_fl.cli.simulate"] if command == "run" else [])):
        monkeypatch.setattr(f"{place}.foresee_{command}", lambda *_, **__: forecast)


@pytest.fixture
def place(digits: Dataset, tmp_path: Path) -> Path:
    """A folder with a client's data, and the contributions of two others."""
    few = {"train.max_steps": 5, "train.min_steps": 5, "generator.steps": 5, "generator.width": 4}
    for k in range(2):
        made = mosaic_fl.contribute(digits.subset(range(k, 200, 2)), model="mlp:4", client=k, settings=few)
        (tmp_path / f"{k}.contribution").write_bytes(made.to_bytes())
    save_parquet(digits.subset(range(100)), tmp_path / "own.parquet")
    return tmp_path


def test_a_contribution_within_a_limit_is_that_of_fewer_steps(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreseen(monkeypatch, "contribution", ("train", 40.0), ("generator", 62.0))  # 102 s: a half fits
    words = ["contribute", "--data", "own.parquet", "--model", "mlp:4", "--client", "2", *QUICK]
    err = io.StringIO()
    mosaic(*words, *LIMIT, "--out", "cut.contribution", cwd=place, err=err)
    assert "within 1 min: 50% of the usual steps\n" in err.getvalue()
    halves = {"train.max_steps": 30, "train.min_steps": 20, "train.epochs": 15, "generator.steps": 60}
    settings = [word for key, value in halves.items() for word in ("--set", f"{key}={value}")]
    # A setting that is given twice counts as it is given last, with a note.
    mosaic(*words, *settings, "--out", "half.contribution", cwd=place)
    assert (place / "cut.contribution").read_bytes() == (place / "half.contribution").read_bytes()


def test_a_contribution_that_cannot_be_in_time_is_none(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    foreseen(monkeypatch, "contribution", ("train", 4000.0))
    monkeypatch.chdir(place)
    words = ["contribute", "--data", "own.parquet", "--model", "mlp:4", "--client", "2", *LIMIT, "--out", "x"]
    line = "--minutes 1 is too short: this takes 4 min at least, with few steps"
    assert fails(capsys, *words) == line
    assert not (place / "x").exists()


def test_a_distillation_within_a_limit_and_its_resume(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    foreseen(monkeypatch, "distillation", ("pool", 1.0), ("meta", 40.0), ("student", 60.0))  # 1 and 100 s: a half fits
    words = ["distill", "0.contribution", "1.contribution", "--student", "mlp:4", *QUICK]
    err = io.StringIO()
    mosaic(*words, *LIMIT, "--out", "cut", cwd=place, err=err)
    assert "within 1 min: 50% of the usual steps, at most 1 term of the student" in err.getvalue()
    mosaic(*words, "--set", "distill.steps=50", "--set", "meta.steps=20", "--out", "half", cwd=place)
    model = (place / "half" / "global_model.safetensors").read_bytes()
    assert (place / "cut" / "global_model.safetensors").read_bytes() == model
    foreseen(monkeypatch, "distillation", ("student", 4000.0))  # the machine is slow now
    for again in ([], LIMIT, ["--minutes", "9"]):
        (place / "cut" / "result.json").unlink()
        mosaic(*words, *again, "--resume", "--out", "cut", cwd=place)
        assert (place / "cut" / "global_model.safetensors").read_bytes() == model
    monkeypatch.chdir(place)
    assert "with --set distill.steps 100, not with --set distill.steps 90" in fails(
        capsys, *words, "--set", "distill.steps=90", "--resume", "--out", "cut"
    )


def test_a_resume_says_whose_limit_counts(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreseen(monkeypatch, "distillation", ("student", 102.0))
    words = ["distill", "0.contribution", "1.contribution", "--student", "mlp:4", *QUICK]
    for out, first, second, told in [
        ("a", LIMIT, [], "began with --minutes 1: it goes on"),
        ("b", LIMIT, ["--minutes", "2"], "began with --minutes 1: it goes on"),
        ("c", LIMIT, LIMIT, ""),
        ("d", [], LIMIT, "began without --minutes: it goes on"),
    ]:
        mosaic(*words, *first, "--out", out, cwd=place)
        err = io.StringIO()
        mosaic(*words, *second, "--resume", "--out", out, cwd=place, err=err)
        assert told in err.getvalue()
        assert ("it goes on" in err.getvalue()) == bool(told)


def test_a_run_within_a_limit_goes_on_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreseen(monkeypatch, "run", ("train", 51.0), ("student", 51.0))
    words = ["run", "--clients", "2", "--models", "mlp:8", "--student", "mlp:8", "--workers", "1", *QUICK]
    mosaic(*words, *LIMIT, "--out", "run", cwd=tmp_path)
    assert from_toml(tmp_path / "run" / "config.toml").distill.steps == 50
    model = (tmp_path / "run" / "global_model.safetensors").read_bytes()
    (tmp_path / "run" / "result.json").unlink()
    mosaic(*words, "--resume", "--out", "run", cwd=tmp_path)
    assert (tmp_path / "run" / "global_model.safetensors").read_bytes() == model


def test_all_methods_of_a_comparison_have_the_same_share_of_their_steps() -> None:
    values = {"rounds.steps": 40, "mosaic:train.max_steps": 600, "generator.epochs": 3}
    usual = Grid(["mosaic", "fedavg", "dense", CENTRALISED], rounds=[1, 4], values=values)
    half = Grid(usual.methods, rounds=[1, 4], values=values, share=0.5)

    def settings(grid: Grid, cell: Cell) -> Config:
        return grid.config(cell, ["cnn:8", "mlp:8"], "cnn:16")

    for cell in usual.cells():
        whole = settings(usual, cell)
        cut = settings(half, cell)
        assert cut.train.max_steps == whole.train.max_steps // 2
        assert cut.train.epochs == whole.train.epochs / 2
        assert cut.generator.steps == whole.generator.steps // 2
        assert cut.generator.epochs == 1.5
        assert cut.distill.steps == whole.distill.steps // 2
        assert cut.synthesis.epochs == whole.synthesis.epochs // 2
        assert cut.rounds.steps == whole.rounds.steps // 2
        assert (cut.rounds.warm_up, cut.distill.terms) == (whole.rounds.warm_up, whole.distill.terms)
    assert half.base().distill.steps == usual.base().distill.steps // 2


def test_the_share_fits_the_limit(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "mosaic_fl.forecast.grid_budget.unit_costs",
        lambda plans, _: {
            unit: Cost(1e-3 if unit.batch > 1 else 1e-6, 1) for plan in plans for unit in plan.plan.units
        },
    )
    small = {"data.max_train": 120, "data.max_test": 40, "run.workers": 1}
    plan = make_plan(Grid(["mosaic", "fedavg", "dense", CENTRALISED], architectures=["equal"], values=small))
    from mosaic_fl.forecast.grid import added_up, cell_plans
    from mosaic_fl.forecast.grid_budget import unit_costs

    def seconds(share: float) -> float:
        cut = with_share(plan, share)
        plans = cell_plans(cut)
        return added_up(cut, plans, unit_costs(plans, 0.0), 1).seconds

    minutes = seconds(0.3) / 51
    assert 0.9 * 51 * minutes < seconds(share_within(plan, 1, minutes)) <= 1.01 * 51 * minutes
    assert share_within(plan, 1, 2 * seconds(1.0)) == 1.0
    with pytest.raises(UsageError, match=r"--minutes 0.01 is too short: 4 cells take .* name fewer methods"):
        share_within(plan, 1, 0.01)


def test_a_comparison_within_a_limit_and_its_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mosaic_fl.forecast.grid_budget.share_within", lambda *_: 0.5)
    words = [*COMPARE, "--methods", "mosaic,centralised", "--architectures", "equal", "--seeds", "0", "--workers", "1"]
    err = io.StringIO()
    out = mosaic(*words, *LIMIT, "--out", "cut", cwd=tmp_path, err=err)
    assert "within 1 min: 50% of the usual steps of every method" in err.getvalue()
    assert "50% of the usual steps" in out
    assert "50% of the usual steps" in (tmp_path / "cut" / "table.md").read_text()
    assert from_toml(tmp_path / "cut" / "config.toml").distill.steps == 3
    table = figures(tmp_path / "cut")
    monkeypatch.setattr("mosaic_fl.forecast.grid_budget.share_within", lambda *_: 0.9)
    for cell in (tmp_path / "cut" / "cells").iterdir():
        cell.unlink()
    mosaic(*words, "--resume", "--out", "cut", cwd=tmp_path)
    assert figures(tmp_path / "cut") == table
    marker = json.loads((tmp_path / "cut" / "inputs.json").read_text())
    assert (marker["options"]["minutes"], marker["options"]["share"]) == ("1", "0.5")


@pytest.mark.parametrize("command", ["contribute", "distill", "compare"])
def test_a_limit_is_a_positive_number_everywhere(capsys: pytest.CaptureFixture[str], command: str) -> None:
    client = ["--data", "x", "--model", "mlp:4", "--client", "0", "--out", "y"]
    more = {"contribute": client, "distill": ["x"], "compare": []}
    line = "--minutes '0': write a positive number, as 10"
    assert fails(capsys, command, *more[command], "--minutes=0") == line
