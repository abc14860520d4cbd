"""`mosaic status`: what a run is doing, read from its folder."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mosaic_fl.report.kept import Kept
    from mosaic_fl.watch.status import Status

SECONDS_BETWEEN = 1.0  # of two looks at the folder


def status(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="the folder of a run, its --out")],
    as_json: Annotated[bool, typer.Option("--json", help="as JSON; with --follow one line a change")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="go on until the run ends")] = False,
) -> None:
    """Say what a run is doing, whom it waits for and who was left out."""
    with suppress(KeyboardInterrupt):  # the way to stop looking
        _show(_looks(run, follow), as_json=as_json, follow=follow)


def _show(looks: "Iterator[tuple[Status | Kept, bool | None]]", *, as_json: bool, follow: bool) -> None:
    if as_json:
        told = None
        for found, alive in looks:
            if (content := _json(found, alive)) != told:
                print(json.dumps(content, ensure_ascii=False, indent=None if follow else 2), flush=True)
                told = content
    elif sys.stdout.isatty():
        console = Console()
        if not follow:
            console.print(_picture(*next(looks)))
            return
        with Live(console=console, auto_refresh=False) as live:
            for found, alive in looks:
                live.update(_picture(found, alive), refresh=True)
    else:
        before = None
        for found, alive in looks:
            if (now := _gist(found, alive)) != before:
                print(_plain(found, alive), flush=True)
                before = now


def _looks(folder: Path, follow: bool) -> "Iterator[tuple[Status | Kept, bool | None]]":
    """What is in the folder and whether the run's process is there, until the run has ended."""
    from mosaic_fl.report.kept import Kept, read_kept
    from mosaic_fl.watch.reading import alive, read_status

    while True:
        found = read_status(folder) or read_kept(folder)
        there = found.at_work if isinstance(found, Kept) else alive(found)
        yield found, there
        if found.ended or there is False or not follow:
            return
        time.sleep(SECONDS_BETWEEN)


def _json(found: "Status | Kept", alive: bool | None) -> dict[str, Any]:
    from mosaic_fl.report.kept import Kept

    return found.to_json() if isinstance(found, Kept) else {**found.to_json(), "alive": alive}


def _picture(found: "Status | Kept", alive: bool | None) -> "RenderableType":
    from mosaic_fl.report.kept import Kept
    from mosaic_fl.report.status import picture

    return Text(_plain(found, alive)) if isinstance(found, Kept) else picture(found, time.time(), alive)


def _plain(found: "Status | Kept", alive: bool | None) -> str:
    from mosaic_fl.report.kept import Kept, kept_lines
    from mosaic_fl.report.status import plain

    now = time.time()
    return "\n".join(kept_lines(found, now)) if isinstance(found, Kept) else plain(found, now, alive)


def _gist(found: "Status | Kept", alive: bool | None) -> object:
    """What must change before text is printed again: progress counts in tenths."""
    from mosaic_fl.report.kept import Kept

    return found if isinstance(found, Kept) else (replace(found, done=10 * found.done // max(found.total, 1)), alive)
