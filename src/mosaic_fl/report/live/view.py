"""What the page of a run shows at one moment, from a snapshot of its folder."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from mosaic_fl.report.doubts import left_out_lines, trust_lines
from mosaic_fl.report.live.figures import Figure, figures_of, headline_of, progress_of
from mosaic_fl.report.live.local import arrivals_of, cell_times, latest_files, local_columns, local_rows
from mosaic_fl.report.live.snapshot import Snapshot
from mosaic_fl.report.status_lines import COLUMNS, lines, rows
from mosaic_fl.report.summary import Summary, summary_lines
from mosaic_fl.runs.result import read_notes, read_result
from mosaic_fl.storage.files import path_text
from mosaic_fl.watch.recent import recent_events
from mosaic_fl.watch.words import sentence

MOST_ROWS = 500  # of clients; of stages, events, what was left out and notes
MOST_STAGES = 40
MOST_EVENTS = 30
MOST_LINES = 100


@dataclass(frozen=True)
class Happening:
    """An event for people: its `time` on this machine's clock, and its `words`."""

    time: str
    words: str


@dataclass(frozen=True)
class View:
    """All that the page shows.

    `headline` says the state without any time that passes, so it changes when something happens: it is read out.
    `progress` is the finished share of the running stage, 0..1, or None. `rows` has one row a client, as `columns`
    names them; `more_rows` and `more_left_out` are how many further ones there are.
    """

    name: str
    kind: str
    headline: str
    tone: str
    figures: Sequence[Figure]
    progress: float | None
    lines: Sequence[str]
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    more_rows: int
    stages: Sequence[str]
    running: str
    more_stages: int
    left_out: Sequence[str]
    more_left_out: int
    notes: Sequence[str]
    events: Sequence[Happening]
    time: str
    ended: bool
    report: bool


def view_of(folder: Path, snapshot: Snapshot, now: float) -> View:
    """The view of the run in `folder` at the time `now` (UTC seconds).

    Raises UsageError where a file in the folder is damaged.
    """
    state = snapshot.state
    result = read_result(folder) or {}
    finished = [name for name in state.finished if not name.startswith("client-")]
    doubts = trust_lines(result)
    if isinstance(state, Summary):
        arrivals = arrivals_of(folder, state)
        kind = f"mosaic {state.command} on one machine"
        words = summary_lines(state, now)[1:]
        columns = local_columns(arrivals)
        table = local_rows(arrivals, now)
        out = left_out_lines(result.get("left_out") or [])
        running = ""
        events = [Happening(_clock(time), words) for time, words in latest_files(folder, MOST_EVENTS)]
    else:
        arrivals = {}
        kind = "a federation over a network"
        words = lines(replace(state, left_out=()), now, snapshot.alive)
        columns = COLUMNS
        table = rows(state, now)
        out = left_out_lines(state.left_out_json())
        running = state.stage if state.state == "running" and snapshot.alive is not False else ""
        events = [Happening(_clock(one.time), sentence(one)) for one in recent_events(folder, MOST_EVENTS)]
    headline, tone = headline_of(snapshot)
    out += doubts
    return View(
        name=path_text(folder.resolve()).rpartition("/")[2],
        kind=kind,
        headline=headline,
        tone=tone,
        figures=figures_of(snapshot, result, arrivals, cell_times(folder), now),
        progress=progress_of(state, arrivals),
        lines=words,
        columns=columns,
        rows=table[:MOST_ROWS],
        more_rows=max(len(table) - MOST_ROWS, 0),
        stages=finished[-MOST_STAGES:],
        running=running,
        more_stages=max(len(finished) - MOST_STAGES, 0),
        left_out=out[:MOST_LINES],
        more_left_out=max(len(out) - MOST_LINES, 0),
        notes=read_notes(folder)[:MOST_LINES],
        events=events,
        time=_clock(now),
        ended=state.ended,
        report=(folder / "report.html").is_file(),
    )


def _clock(seconds: float) -> str:
    """A time on this machine's clock, from UTC seconds."""
    return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M:%S}"
