"""Budgets that fit a limit of time: fewer steps where it is short, more terms of the student where it is long."""

from collections.abc import Sequence
from math import floor
from pathlib import Path

from mosaic_fl.config import Config
from mosaic_fl.config.toml import from_toml
from mosaic_fl.errors import UsageError
from mosaic_fl.forecast.forecast import StageForecast, duration

PLANNED = 0.85  # share of the limit that is planned for, since a forecast is an estimate
LEAST = 0.05  # share of the usual steps below which nothing is learnt
MOST_TERMS = 100
STEPS = ("train.min_steps", "train.max_steps", "generator.steps", "meta.steps", "distill.steps")
PASSES = ("train.epochs", "generator.epochs")
TRAINING = ("train", "generator", "meta", "student", "centralised")
TRIALS = "candidate-"  # begins the names of short students
TERMS = "student-"  # begins the names of the student's later terms
BUDGETS = (*STEPS, *PASSES, "distill.terms", "distill.retry")


def within(config: Config, stages: Sequence[StageForecast], minutes: float) -> Config:
    """The configuration with budgets that take `minutes` at most, by the forecast of its `stages`.

    All steps shrink by the same factor where the limit is short. What remains of it is for terms of the student, which
    ends earlier where a term no longer helps. Raises UsageError where the limit is too short for any training.
    """
    seconds = {stage.name: stage.seconds for stage in stages}
    training = sum(time for name, time in seconds.items() if name in TRAINING or name.startswith(TRIALS))
    terms = [time for name, time in seconds.items() if name.startswith(TERMS)]
    others = sum(seconds.values()) - training - sum(terms)
    limit = PLANNED * 60 * minutes
    scale = min(1.0, (limit - others) / training) if training else 1.0
    if scale < LEAST:
        least = (others + LEAST * training) / PLANNED
        raise UsageError(f"--minutes {minutes:g} is too short: this takes {duration(least)} at least, with few steps")
    settings = config.model_dump()

    def value(path: str) -> float:
        section, key = path.split(".")
        number: float = settings[section][key]
        return number

    changes: dict[str, float] = {path: max(1, round(scale * value(path))) for path in STEPS}
    changes |= {path: scale * value(path) for path in PASSES if value(path)}
    # A term draws samples of its own and asks all experts of them, as the pool did. That does not shrink.
    term = max(terms) if terms else seconds.get("student", 0.0) + seconds.get("pool", 0.0)
    spare = max(0.0, limit - others - scale * training)
    count = 1 + floor(spare / term) if term else config.distill.terms
    # Whether there will be a second student nobody knows before the first one is judged, so a limit leaves it out.
    return config.with_values(changes | {"distill.terms": min(MOST_TERMS, count), "distill.retry": False})


def budgets_of(folder: Path, config: Config) -> Config | None:
    """`config` with the budgets that the run in `folder` began with; None where it has not begun."""
    path = folder / "config.toml"
    if not path.is_file():
        return None
    begun = from_toml(path).model_dump()
    return config.with_values({path: begun[path.split(".")[0]][path.split(".")[1]] for path in BUDGETS})


def summary(config: Config, usual: Config, minutes: float) -> str:
    """What the budgets of `config` are against the usual ones, in one line."""
    share = config.distill.steps / usual.distill.steps
    terms = f"{config.distill.terms} term{'s' * (config.distill.terms != 1)}"
    return f"within {minutes:g} min: {share:.0%} of the usual steps, at most {terms} of the student"
