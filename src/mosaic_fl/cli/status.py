"""`mosaic status`: show what a run is doing, from the files in its folder."""

import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from mosaic_fl.cli.output import results, wants_json
from mosaic_fl.errors import UsageError
from mosaic_fl.storage.files import path_text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mosaic_fl.report.live.snapshot import Snapshot

SECONDS_BETWEEN = 1.0  # between two reads of the folder


def status(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="the folder of a run, its --out")],
    follow: Annotated[bool, typer.Option("--follow", help="go on until the run ends")] = False,
    web: Annotated[bool, typer.Option("--web", help="show it as a page to this machine alone, until Ctrl-C")] = False,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="of --web on 127.0.0.1; 0: any free one", show_default="0")
    ] = None,
) -> None:
    """Say what a run is doing, whom it waits for and who was left out; --follow --json is one line a change."""
    if port is not None and not web:
        raise UsageError(f"--port {port} is for --web: add it, or leave --port out")
    if follow and web:
        raise UsageError("--follow and --web: the page follows the run by itself; leave --follow out")
    with suppress(KeyboardInterrupt):  # Ctrl-C ends --follow and --web
        if web:
            _serve(run, port or 0)
        else:
            _show(_snapshots(run, follow), follow=follow)


def _serve(folder: Path, port: int) -> None:
    """Serve the page of the run in `folder` until Ctrl-C; its address is printed first."""
    from mosaic_fl.report.live.server import PageServer
    from mosaic_fl.report.live.snapshot import read_snapshot

    read_snapshot(folder)  # a folder that is no run's is told before anything starts
    with PageServer(folder, port) as server:
        print(f"{path_text(folder)} as a page for this machine alone, until Ctrl-C: {server.address}", flush=True)
        results({"folder": folder, "url": server.address})
        server.serve_forever()


def _show(snapshots: "Iterator[Snapshot]", *, follow: bool) -> None:
    """Print each snapshot that differs from the last one; on a terminal, update one picture."""
    if wants_json():
        previous = None
        for snapshot in snapshots:
            if (content := snapshot.to_json()) != previous:
                results(content, line=follow)
                previous = content
    elif sys.stdout.isatty():
        console = Console()
        if not follow:
            console.print(_picture(next(snapshots)))
            return
        with Live(console=console, auto_refresh=False) as live:
            for snapshot in snapshots:
                live.update(_picture(snapshot), refresh=True)
    else:
        previous_key = None
        for snapshot in snapshots:
            if (key := _change_key(snapshot)) != previous_key:
                print(_plain(snapshot), flush=True)
                previous_key = key


def _snapshots(folder: Path, follow: bool) -> "Iterator[Snapshot]":
    """Read the folder every second until the run ends. Without `follow`, the folder is read once."""
    from mosaic_fl.report.live.snapshot import read_snapshot

    while True:
        snapshot = read_snapshot(folder)
        yield snapshot
        if snapshot.state.ended or snapshot.alive is False or not follow:
            return
        time.sleep(SECONDS_BETWEEN)


def _picture(snapshot: "Snapshot") -> "RenderableType":
    from mosaic_fl.report.status_lines import picture
    from mosaic_fl.report.summary import Summary

    if isinstance(snapshot.state, Summary):
        return Text(_plain(snapshot))
    return picture(snapshot.state, time.time(), snapshot.alive)


def _plain(snapshot: "Snapshot") -> str:
    from mosaic_fl.report.status_lines import plain
    from mosaic_fl.report.summary import Summary, summary_lines

    state = snapshot.state
    now = time.time()
    return "\n".join(summary_lines(state, now)) if isinstance(state, Summary) else plain(state, now, snapshot.alive)


def _change_key(snapshot: "Snapshot") -> object:
    """The value that must change before text is printed again; progress counts in tenths."""
    from mosaic_fl.report.summary import Summary

    state = snapshot.state
    if isinstance(state, Summary):
        return state
    tenths = 10 * state.done // max(state.total, 1)
    return replace(state, done=tenths), snapshot.alive
