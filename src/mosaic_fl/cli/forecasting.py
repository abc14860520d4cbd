"""The forecast of a command's cost: the option `--dry-run`, and the first line of a long run."""

import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from mosaic_fl.cli.output import results
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.notes import note

if TYPE_CHECKING:
    from mosaic_fl.forecast.forecast import Forecast

Minutes = Annotated[str | None, typer.Option(metavar="N", help="a limit of time, for all budgets")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="say what it would take, and end")]


def announce(foresee: "Callable[[], Forecast | None]", *, resume: bool = False) -> None:
    """Print the forecast as one line on stderr. If the forecast fails, a note says so and the run goes on."""
    try:
        forecast = foresee()
    except MosaicError as error:
        note(f"no forecast: {error}")
        return
    if forecast is not None:
        print(
            f"{forecast.line}{' (all of it; what is finished is kept)' if resume else ''}", file=sys.stderr, flush=True
        )


def positive(minutes: str | None) -> float | None:
    """The number of `--minutes`, or None without it; raises UsageError for anything but a positive number."""
    if minutes is None:
        return None
    try:
        number = float(minutes)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise UsageError(f"--minutes {minutes!r}: write a positive number, as 10")
    return number


def show(forecast: "Forecast | None") -> None:
    """Print the forecast of a dry run on stdout: one line, and a table of its stages."""
    from rich.console import Console

    from mosaic_fl.report.forecast import forecast_table

    assert forecast is not None
    results({"forecast": forecast.to_json()})
    print(forecast.line)
    Console(file=sys.stdout).print(forecast_table(forecast))
    for reason in forecast.at_most:
        print(f"At most: {reason}.")
    for part in forecast.not_counted:
        print(f"Not counted: {part}.")
    print("Dry run: nothing was written.")
