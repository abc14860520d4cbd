"""The figures at the head of a run's page: its state in one sentence, how far it is, and how long it may take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mosaic_fl.report.live.local import Arrival
from mosaic_fl.report.live.snapshot import Snapshot
from mosaic_fl.report.summary import STATES, Summary
from mosaic_fl.watch.status import Status
from mosaic_fl.watch.words import size, span

Arrivals = Mapping[str, Arrival | None]
NONE = "–"


@dataclass(frozen=True)
class Figure:
    """One figure with its name, and a `note` on it."""

    name: str
    value: str
    note: str = ""


def headline_of(snapshot: Snapshot) -> tuple[str, str]:
    """(the state in one sentence without any time that passes, its tone: "good", "bad" or "")."""
    state = snapshot.state
    if isinstance(state, Summary):
        words = "finished" if state.ended else STATES[state.at_work]
        parts = [f"{state.cells} cells" if state.cells else "", _contributions(state.contributions)]
        counts = ", ".join(part for part in parts if part)
        return (f"{words}: {counts}" if counts else words), "good" if state.ended else "bad" * (words == "stopped")
    if snapshot.alive is False:
        return f"stopped: the process {state.pid} of the run is gone", "bad"
    if state.state == "failed":
        return "failed" + (f" in stage {state.stage}" if state.stage else "") + f": {state.reason}", "bad"
    if state.state == "waiting":
        return f"waiting for clients: {_present(state)} of {len(state.clients)} are there", ""
    if state.state == "finished":
        return "finished", "good"
    return _running(state), ""


def figures_of(snapshot: Snapshot, result: Mapping[str, Any], arrivals: Arrivals, now: float) -> list[Figure]:
    """The figures at the time `now` (UTC seconds); `result` is the content of `result.json`, or empty."""
    state = snapshot.state
    figures = _local(state, arrivals, now) if isinstance(state, Summary) else _deployed(state, now)
    accuracy = result.get("accuracy")
    if isinstance(accuracy, (int, float)):
        figures.append(Figure("Test accuracy", f"{100 * accuracy:.1f} %"))
    return figures


def progress_of(state: Status | Summary, arrivals: Arrivals) -> float | None:
    """The finished share of the running stage, or of a comparison's cells, in 0..1; None where it is unknown."""
    if isinstance(state, Summary):
        if state.ended:
            return None
        if state.runnable:
            return min(state.cells / state.runnable, 1.0)
        return sum(one is not None for one in arrivals.values()) / len(arrivals) if arrivals else None
    if state.state != "running":
        return None
    if state.total:
        return min(state.done / state.total, 1.0)
    return 1 - len(state.waiting_for) / len(state.expected) if state.expected else None


def seconds_left(times: Sequence[float], missing: int, now: float) -> float | None:
    """Seconds until `missing` more files are there, by the pace of those that were written at `times`.

    None before the third file: one pause between two tells nothing. At the least 0.
    """
    if len(times) < 3 or missing <= 0:
        return None
    pace = (max(times) - min(times)) / (len(times) - 1)
    return max(missing * pace - (now - max(times)), 0.0)


def _deployed(status: Status, now: float) -> list[Figure]:
    since = span(now - status.since)
    figures = [Figure("State", status.state, f"for {since}")]
    if status.stage:
        figures.append(Figure("Stage", status.stage, f"{len(status.finished)} finished"))
    if status.expected and status.state in ("running", "failed"):
        figures.append(Figure("Answers", f"{len(status.received)} of {len(status.expected)}", "in this stage"))
    else:
        figures.append(Figure("Clients", f"{_present(status)} of {len(status.clients)}", "are there"))
    if status.state == "running":
        figures.append(_left(status, now))
    figures.append(Figure("Received", size(status.bytes), "from all clients"))
    if status.times_left_out:
        figures.append(Figure("Left out", str(status.times_left_out), "times a stage went on without a client"))
    return figures


def _left(status: Status, now: float) -> Figure:
    """The time that is left of the running stage: of the server's own work by its pace, of clients' by the limit."""
    elapsed = max(now - status.since, 0.0)
    if status.total and status.done:
        left = elapsed * (status.total - status.done) / status.done
        return Figure("Time left", f"about {span(left)}", "of this stage, at its pace")
    if status.limit:
        left = max(status.limit - elapsed, 0.0)
        return Figure("Time left", f"at most {span(left)}", f"of this stage: its limit is {span(status.limit)}")
    return Figure("Time left", NONE, "the stage has no limit")


def _local(summary: Summary, arrivals: Arrivals, now: float) -> list[Figure]:
    words = "finished" if summary.ended else STATES[summary.at_work]
    figures = [Figure("State", words, f"last written {span(now - summary.changed)} ago")]
    there = [one for one in arrivals.values() if one is not None]
    missing = len(arrivals) - len(there)
    if summary.runnable is not None or summary.cells:
        of = f" of {summary.runnable}" if summary.runnable is not None else ""
        figures.append(Figure("Cells", f"{summary.cells}{of}", f"{summary.failed} failed"))
    if there:
        of = f" of {len(arrivals)}" if summary.command == "run" else ""
        figures.append(Figure("Contributions", f"{len(there)}{of}", size(sum(one.bytes for one in there))))
    left = None if summary.ended else seconds_left([one.time for one in there], missing, now)
    if left is not None:
        figures.append(Figure("Time left", f"about {span(left)}", "until all contributions are there"))
    return figures


def _running(status: Status) -> str:
    if not status.stage:
        return "between two stages"
    if status.total:
        return f"stage {status.stage}: {10 * (10 * status.done // status.total)} % done"
    out = sum(status.clients[k].state == "left out" for k in status.expected)
    answers = f": {len(status.received)} of {len(status.expected)} answers" if status.expected else ""
    return f"stage {status.stage}{answers}" + (f", {out} left out" if out else "")


def _present(status: Status) -> int:
    return sum(client.state not in ("expected", "gone") for client in status.clients.values())


def _contributions(count: int) -> str:
    return f"{count} contribution{'s' * (count != 1)}" if count else ""
