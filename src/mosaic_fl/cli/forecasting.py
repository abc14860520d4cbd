"""What a command will take: `--dry-run`, and the first line of a long run."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from mosaic_fl.errors import MosaicError
from mosaic_fl.notes import note

if TYPE_CHECKING:
    from mosaic_fl.forecast.forecast import Forecast

DryRun = Annotated[bool, typer.Option("--dry-run", help="say what it would take, and end")]


def announce(foresee: "Callable[[], Forecast | None]", *, resume: bool = False) -> None:
    """The first line of a long run, on stderr; a forecast that fails does not end the run, but is told."""
    try:
        coming = foresee()
    except MosaicError as error:
        note(f"no forecast: {error}")
        return
    if coming is not None:
        print(f"{coming.line}{' (all of it; what is finished is kept)' if resume else ''}", file=sys.stderr, flush=True)


def show(coming: "Forecast | None") -> None:
    """The forecast of a dry run on stdout: a line, and a table of its stages; nothing was written."""
    from rich.console import Console

    from mosaic_fl.report.foreseen import forecast_table

    assert coming is not None
    print(coming.line)
    Console(file=sys.stdout).print(forecast_table(coming))
    for reason in coming.at_most:
        print(f"At most: {reason}.")
    print("Dry run: nothing was written.")
