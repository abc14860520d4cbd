"""Budgets that fit a limit of time: fewer steps where it is short, more terms of the student where it is long."""

from collections.abc import Sequence
from math import floor
from pathlib import Path

from mosaic_fl.config import Config
from mosaic_fl.config.budgets import CLIENT, SERVER, budget, scaled
from mosaic_fl.config.toml import from_toml
from mosaic_fl.errors import UsageError
from mosaic_fl.forecast.forecast import StageForecast, duration

PLANNED = 0.85  # share of the limit that is planned for, since a forecast is an estimate
LEAST = 0.05  # share of the usual steps below which nothing is learnt
MOST_TERMS = 100
TRAINING = ("train", "generator", "meta", "student", "centralised")
TRIALS = "candidate-"  # begins the names of short students
LATER = "student-"  # begins the names of the student's later terms
TERMS = "distill.terms"
RETRY = "distill.retry"
CONTRIBUTION = CLIENT
DISTILLATION = (*SERVER, TERMS, RETRY)
RUN = (*CONTRIBUTION, *DISTILLATION)
"""The budgets of each command. A command that has `TERMS` spends what is left of its limit on them."""


def within(config: Config, stages: Sequence[StageForecast], minutes: float, budgets: Sequence[str] = RUN) -> Config:
    """The configuration with `budgets` that take `minutes` at most, by the forecast of a command's `stages`.

    All steps shrink by the same factor where the limit is short. What remains of it is for terms of the student, which
    ends earlier where a term no longer helps. Raises UsageError where the limit is too short for any training.
    """
    seconds = {stage.name: stage.seconds for stage in stages}
    training = sum(time for name, time in seconds.items() if name in TRAINING or name.startswith(TRIALS))
    terms = [time for name, time in seconds.items() if name.startswith(LATER)]
    others = sum(seconds.values()) - training - sum(terms)
    limit = planned(minutes)
    share = min(1.0, (limit - others) / training) if training else 1.0
    if share < LEAST:
        least = (others + LEAST * training) / PLANNED
        raise UsageError(f"--minutes {minutes:g} is too short: this takes {duration(least)} at least, with few steps")
    config = scaled(config, share, [path for path in budgets if path not in (TERMS, RETRY)])
    if TERMS not in budgets:
        return config
    taught = any(stage.name == "student" and stage.steps for stage in stages)  # trees have one term
    # A term draws samples of its own and asks all experts of them, as the pool did. That does not shrink.
    term = max(terms) if terms else seconds.get("student", 0.0) + seconds.get("pool", 0.0)
    spare = max(0.0, limit - others - share * training)
    count = 1 + floor(spare / term) if term and taught else config.distill.terms
    # Whether there will be a second student nobody knows before the first one is judged, so a limit leaves it out.
    return config.with_values({TERMS: min(MOST_TERMS, count), RETRY: False})


def planned(minutes: float) -> float:
    """The seconds that are planned for a limit of so many `minutes`."""
    return PLANNED * 60 * minutes


def budgets_of(folder: Path, config: Config, budgets: Sequence[str] = RUN) -> Config | None:
    """`config` with the `budgets` that the run in `folder` began with; None where it has not begun."""
    path = folder / "config.toml"
    if not path.is_file():
        return None
    begun = from_toml(path)
    return config.with_values({path: budget(begun, path) for path in budgets})


def summary(config: Config, usual: Config, minutes: float, budgets: Sequence[str] = RUN) -> str:
    """What the `budgets` of `config` are against the usual ones, in one line."""
    path = "train.epochs" if "train.epochs" in budgets else "distill.steps"
    steps = f"within {minutes:g} min: {budget(config, path) / budget(usual, path):.0%} of the usual steps"
    if TERMS not in budgets:
        return steps
    terms = f"{config.distill.terms} term{'s' * (config.distill.terms != 1)}"
    return f"{steps}, at most {terms} of the student"
