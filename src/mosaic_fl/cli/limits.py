"""A limit of time (`--minutes`): budgets that fit it, and the limit that a resumed run began with."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mosaic_fl.cli.forecasting import positive
from mosaic_fl.config import Config
from mosaic_fl.config.budgets import budget
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import note
from mosaic_fl.runs.folder import MARKER, options_of

if TYPE_CHECKING:  # without torch
    from mosaic_fl.comparison.plan import Plan
    from mosaic_fl.forecast.forecast import Forecast

MINUTES = "minutes"
"""The option in a run's marker: its limit, where it has one."""
SHARE = "share"
"""The option in a comparison's marker: the share of all budgets that fits its limit."""


def fit(config: Config, minutes: float, foresee: "Callable[[], Forecast | None]", budgets: Sequence[str]) -> Config:
    """`config` with `budgets` that fit the limit by the forecast, and a line on stderr that says what they are.

    Raises UsageError where the limit is too short, or where the forecast cannot tell what the work takes.
    """
    from mosaic_fl.forecast.budget import summary, within

    forecast = foresee()
    assert forecast is not None
    fitted = within(config, forecast.stages, minutes, budgets)
    print(summary(fitted, config, minutes, budgets), file=sys.stderr, flush=True)
    return fitted


def fit_run(
    config: Config,
    minutes: float | None,
    out: Path,
    foresee: "Callable[[], Forecast | None]",
    budgets: Sequence[str],
    *,
    resume: bool,
) -> tuple[Config, dict[str, str]]:
    """(`config` with `budgets` that fit the limit, the options that the marker of the folder `out` records of it).

    With `resume` a run that has begun goes on with the budgets that it began with, whether the limit is repeated or
    not. The usual budgets are among the options: a resume with others is refused, as that of a run without a limit is.
    """
    from mosaic_fl.forecast.budget import budgets_of

    minutes = limit(minutes, out, resume=resume)
    if minutes is None:
        return config, {}
    options = {MINUTES: f"{minutes:g}", **{f"set {path}": f"{budget(config, path):.10g}" for path in budgets}}
    begun = budgets_of(out, config, budgets) if resume else None
    return begun or fit(config, minutes, foresee, budgets), options


def fit_grid(
    plan: "Plan", minutes: float | None, out: Path, jobs: int, *, resume: bool
) -> tuple["Plan", dict[str, str]]:
    """As `fit_run` for a comparison of `jobs` settings at once: one share of all budgets, for every method."""
    from mosaic_fl.forecast.grid_budget import share_within, with_share

    minutes = limit(minutes, out, resume=resume)
    if minutes is None:
        return plan, {}
    share = _begun_share(out) if resume else None
    if share is None:
        share = share_within(plan, jobs, minutes)
    print(f"within {minutes:g} min: {share:.0%} of the usual steps of every method", file=sys.stderr, flush=True)
    return with_share(plan, share), {MINUTES: f"{minutes:g}", SHARE: f"{share:g}"}


def _begun_share(out: Path) -> float | None:
    """The share with which the comparison in `out` began; None where none has. Raises UsageError for no such number."""
    recorded = (options_of(out) or {}).get(SHARE)
    if recorded is None:
        return None
    try:
        share = float(recorded)
    except (TypeError, ValueError):
        share = 0.0
    if not 0 < share <= 1:
        raise UsageError(f"{out / MARKER} is damaged, its share is {recorded!r}: choose another --out")
    return share


def limit(minutes: float | None, out: Path, *, resume: bool) -> float | None:
    """The limit in minutes: with `resume` that of the run in the folder `out`, if one has begun, and else `minutes`.

    A note says so where the two differ.
    """
    options: Mapping[str, Any] | None = options_of(out) if resume else None
    if options is None:
        return minutes
    recorded = options.get(MINUTES)
    began = None if recorded is None else positive(str(recorded))
    if began != minutes:
        before = "without --minutes" if began is None else f"with --minutes {began:g}"
        note(f"the run in {out} began {before}: it goes on with the budgets that it began with")
    return began
