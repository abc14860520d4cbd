"""`mosaic status`: show what a run is doing, from the files in its folder."""

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

from mosaic_fl.cli.output import results, wants_json

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mosaic_fl.report.summary import Summary
    from mosaic_fl.watch.status import Status

SECONDS_BETWEEN = 1.0  # between two reads of the folder


def status(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="the folder of a run, its --out")],
    follow: Annotated[bool, typer.Option("--follow", help="go on until the run ends")] = False,
) -> None:
    """Say what a run is doing, whom it waits for and who was left out; --follow --json is one line a change."""
    with suppress(KeyboardInterrupt):  # Ctrl-C ends --follow
        _show(_snapshots(run, follow), follow=follow)


def _show(snapshots: "Iterator[tuple[Status | Summary, bool | None]]", *, follow: bool) -> None:
    """Print each snapshot that differs from the last one; on a terminal, update one picture."""
    if wants_json():
        previous = None
        for snapshot, alive in snapshots:
            if (content := _json(snapshot, alive)) != previous:
                results(content, line=follow)
                previous = content
    elif sys.stdout.isatty():
        console = Console()
        if not follow:
            console.print(_picture(*next(snapshots)))
            return
        with Live(console=console, auto_refresh=False) as live:
            for snapshot, alive in snapshots:
                live.update(_picture(snapshot, alive), refresh=True)
    else:
        previous_key = None
        for snapshot, alive in snapshots:
            if (key := _change_key(snapshot, alive)) != previous_key:
                print(_plain(snapshot, alive), flush=True)
                previous_key = key


def _snapshots(folder: Path, follow: bool) -> "Iterator[tuple[Status | Summary, bool | None]]":
    """Read the folder every second until the run ends: its state, and whether its process runs (None: unknown).

    A run over a network has a `Status`, any other run a `Summary`. Without `follow`, the folder is read once.
    """
    from mosaic_fl.report.summary import Summary, read_summary
    from mosaic_fl.watch.reading import alive, read_status

    while True:
        snapshot = read_status(folder) or read_summary(folder)
        running = snapshot.at_work if isinstance(snapshot, Summary) else alive(snapshot)
        yield snapshot, running
        if snapshot.ended or running is False or not follow:
            return
        time.sleep(SECONDS_BETWEEN)


def _json(snapshot: "Status | Summary", alive: bool | None) -> dict[str, Any]:
    from mosaic_fl.report.summary import Summary

    return snapshot.to_json() if isinstance(snapshot, Summary) else {**snapshot.to_json(), "alive": alive}


def _picture(snapshot: "Status | Summary", alive: bool | None) -> "RenderableType":
    from mosaic_fl.report.status_lines import picture
    from mosaic_fl.report.summary import Summary

    if isinstance(snapshot, Summary):
        return Text(_plain(snapshot, alive))
    return picture(snapshot, time.time(), alive)


def _plain(snapshot: "Status | Summary", alive: bool | None) -> str:
    from mosaic_fl.report.status_lines import plain
    from mosaic_fl.report.summary import Summary, summary_lines

    now = time.time()
    return "\n".join(summary_lines(snapshot, now)) if isinstance(snapshot, Summary) else plain(snapshot, now, alive)


def _change_key(snapshot: "Status | Summary", alive: bool | None) -> object:
    """The value that must change before text is printed again; progress counts in tenths."""
    from mosaic_fl.report.summary import Summary

    if isinstance(snapshot, Summary):
        return snapshot
    tenths = 10 * snapshot.done // max(snapshot.total, 1)
    return replace(snapshot, done=tenths), alive
