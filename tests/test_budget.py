"""Budgets that fit a limit of time: worked out by hand, and on the command line."""

import io
from pathlib import Path

import pytest

from command import QUICK, fails, mosaic
from mosaic_fl.config import Config
from mosaic_fl.config.toml import from_toml
from mosaic_fl.errors import UsageError
from mosaic_fl.forecast.budget import CONTRIBUTION, DISTILLATION, budgets_of, summary, within
from mosaic_fl.forecast.forecast import StageForecast

USUAL = Config()
STAGES = [
    StageForecast("train", 100, 40.0),
    StageForecast("generator", 100, 100.0),
    StageForecast("pool", 0, 11.0),
    StageForecast("candidate-meta-0", 100, 12.0),
    StageForecast("student", 100, 48.0),
    StageForecast("student-2", 100, 60.0),
]
"""200 s whose steps can change, 11 s that cannot; a second term of the student is not one of them."""


def test_a_short_limit_shrinks_all_steps_alike() -> None:
    # 85 % of 130/60 · … : 0.85 · 60 · m − 11 = 100 is half of the 200 s, at m = 111 / 51.
    half = within(USUAL, STAGES, 111 / 51)
    assert half.train.max_steps == USUAL.train.max_steps // 2
    assert half.train.min_steps == USUAL.train.min_steps // 2
    assert half.train.epochs == pytest.approx(USUAL.train.epochs / 2)
    assert half.generator.steps == USUAL.generator.steps // 2
    assert half.distill.steps == USUAL.distill.steps // 2
    assert half.distill.terms == 1
    assert half.generator.epochs == 0  # 0 means steps, and still does


def test_a_long_limit_gives_the_student_terms_and_no_step_more() -> None:
    # 11 + 200 s, and two more terms of 60 s: 331 s, at m = 331 / 51; one second less is one term less.
    assert within(USUAL, STAGES, 331.5 / 51).distill.terms == 3
    assert within(USUAL, STAGES, 330 / 51).distill.terms == 2
    assert within(USUAL, STAGES, 330 / 51).distill.steps == USUAL.distill.steps
    assert within(USUAL, STAGES, 1e6).distill.terms == 100


def test_a_term_costs_its_samples_too() -> None:
    # Without a forecast of a second term it is a pool and a student: 11 + 48 s.
    first = [stage for stage in STAGES if stage.name != "student-2"]
    assert within(USUAL, first, (211 + 58) / 51).distill.terms == 1
    assert within(USUAL, first, (211 + 60) / 51).distill.terms == 2


def test_rounding_never_leaves_a_run_without_a_term() -> None:
    stages = [StageForecast("train", 9, 277.2395487438472), StageForecast("pool", 0, 27.432199716200632)]
    assert within(USUAL, [*stages, StageForecast("student", 9, 30.0)], 1.0).distill.terms == 1


def test_a_limit_that_is_too_short_says_the_least() -> None:
    # 5 % of 200 s and 11 s are 21 s, of a limit of which 85 % are planned: 24.7 s.
    with pytest.raises(UsageError, match=r"--minutes 0.3 is too short: this takes 25 s at least"):
        within(USUAL, STAGES, 0.3)


def test_the_summary() -> None:
    half = within(USUAL, STAGES, 111 / 51)
    assert summary(half, USUAL, 2.0) == "within 2 min: 50% of the usual steps, at most 1 term of the student"


def test_a_contribution_shrinks_what_a_client_trains() -> None:
    # 140 s of training: 0.85 · 60 · m = 70 s is half of it. Nothing is left for terms of a student, which it lacks.
    half = within(USUAL, STAGES[:2], 70 / 51, CONTRIBUTION)
    assert half.train.max_steps == USUAL.train.max_steps // 2
    assert half.generator.steps == USUAL.generator.steps // 2
    assert (half.meta, half.distill) == (USUAL.meta, USUAL.distill)
    assert within(USUAL, STAGES[:2], 1e6, CONTRIBUTION) == USUAL
    assert summary(half, USUAL, 2.0, CONTRIBUTION) == "within 2 min: 50% of the usual steps"


def test_a_distillation_shrinks_what_the_server_trains() -> None:
    # 60 s of training and 11 s that do not shrink: 41 s is half of the 60 s.
    half = within(USUAL, STAGES[2:], 41 / 51, DISTILLATION)
    assert (half.distill.steps, half.distill.terms) == (USUAL.distill.steps // 2, 1)
    assert half.meta.steps == USUAL.meta.steps // 2
    assert (half.train, half.generator) == (USUAL.train, USUAL.generator)
    assert summary(half, USUAL, 2.0, DISTILLATION).startswith("within 2 min: 50% of the usual steps, at most 1 term")
    assert within(USUAL, STAGES[2:], 1e6, DISTILLATION).distill.terms == 100


def test_a_run_within_a_limit_and_its_resume(tmp_path: Path) -> None:
    words = ["run", "--clients", "2", "--models", "mlp:8", "--student", "mlp:8", "--workers", "1", *QUICK]
    words += ["--minutes", "5", "--out", "run"]
    err = io.StringIO()
    mosaic(*words, cwd=tmp_path, err=err)
    assert "within 5 min: 100% of the usual steps" in err.getvalue()
    begun = from_toml(tmp_path / "run" / "config.toml")
    assert begun.distill.terms > 1
    assert budgets_of(tmp_path / "run", USUAL).distill.terms == begun.distill.terms  # type: ignore[union-attr]
    assert budgets_of(tmp_path / "nothing", USUAL) is None
    mosaic(*words, "--resume", cwd=tmp_path)  # the same budgets, whatever the machine does now


@pytest.mark.parametrize("minutes", ["0", "-1", "soon", "nan", "inf"])
def test_a_limit_is_a_positive_number(capsys: pytest.CaptureFixture[str], minutes: str) -> None:
    assert fails(capsys, "run", f"--minutes={minutes}") == f"--minutes {minutes!r}: write a positive number, as 10"


def test_other_methods_have_budgets_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--minutes 5 is for mosaic" in fails(capsys, "run", "--method", "fedavg", "--minutes", "5")
