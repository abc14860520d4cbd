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
        stages = [name for name in state.finished if not name.startswith("client-")]
        numbers = {"cell": state.cells, "contribution": state.contributions, "stage": len(stages)}
        counts = ", ".join(f"{count} {name}{'s' * (count != 1)}" for name, count in numbers.items() if count)
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


def figures_of(
    snapshot: Snapshot, result: Mapping[str, Any], arrivals: Arrivals, cells: Sequence[float], now: float
) -> list[Figure]:
    """The figures at the time `now` (UTC seconds).

    `result` is the content of `result.json`, or empty; `cells` are the times at which those of a comparison were done.
    """
    state = snapshot.state
    figures = _local(state, arrivals, cells, now) if isinstance(state, Summary) else _deployed(snapshot, state, now)
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
        there = sum(one is not None for one in arrivals.values())
        return there / len(arrivals) if there < len(arrivals) else None  # how far the server is, no file tells
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


def _deployed(snapshot: Snapshot, status: Status, now: float) -> list[Figure]:
    is_gone = snapshot.alive is False
    since = f"for {span(now - status.since)}"
    figures = [Figure("State", "stopped", "its process is gone") if is_gone else Figure("State", status.state, since)]
    if status.stage:
        figures.append(Figure("Stage", status.stage, f"{len(status.finished)} finished"))
    if status.expected and status.state in ("running", "failed"):
        figures.append(Figure("Answers", f"{len(status.received)} of {len(status.expected)}", "in this stage"))
    else:
        figures.append(Figure("Clients", f"{_present(status)} of {len(status.clients)}", "are there"))
    if status.state == "running" and status.stage and not is_gone:
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
        return Figure("Time left", span(left), "about: at the pace of this stage")
    if status.limit:
        left = max(status.limit - elapsed, 0.0)
        return Figure("Time left", span(left), f"at most: this stage may take {span(status.limit)}")
    return Figure("Time left", NONE, "the stage has no limit")


def _local(summary: Summary, arrivals: Arrivals, cells: Sequence[float], now: float) -> list[Figure]:
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
    if summary.at_work is not False and not summary.ended:
        pending = (summary.runnable or 0) - summary.cells - summary.failed
        of_cells = seconds_left(cells, pending, now)
        of_clients = seconds_left([one.time for one in there], missing, now)
        if of_cells is not None:
            figures.append(Figure("Time left", span(of_cells), "about: at the pace of the cells so far"))
        elif of_clients is not None:
            figures.append(Figure("Time left", span(of_clients), "about: until all contributions are there"))
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
