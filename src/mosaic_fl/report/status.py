"""A run's status for people: what it does, whom it waits for, who was left out."""

from collections.abc import Sequence
from datetime import datetime

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mosaic_fl.watch.status import Client, Status
from mosaic_fl.watch.words import size, span

MOST_NAMED = 8  # clients in one line; all are in the table
COLOURS = {"received": "green", "working": "cyan", "left out": "red", "gone": "yellow", "expected": "dim"}
COLUMNS = ("client", "state", "for", "model", "samples", "received", "node", "note")
AGAIN = "start it again with the same command and --resume; what was received is kept"


def lines(status: Status, now: float, alive: bool | None = None) -> list[str]:
    """What there is to say beside the table of clients, at the time `now` (UTC seconds), one sentence a line.

    `alive` is whether the run's process is still there, None where that is not known.
    """
    said = [_stage(status, now)]
    if status.expected and status.state in ("running", "failed"):
        said.append(f"received {len(status.received)} of {len(status.expected)}")
    if status.waiting_for:
        said.append(f"waiting for {_named(status, now)}")
    said += [f"left out of {one.stage}: client {one.client}: {one.reason}" for one in status.left_out]
    if status.restarts:
        said.append(f"taken up again {'once' if status.restarts == 1 else f'{status.restarts} times'}")
    if alive is False:
        said.append(f"its process {status.pid} is gone: it was killed, or its machine restarted; {AGAIN}")
    elif status.state == "failed":
        said.append(AGAIN)
    return said


def rows(status: Status, now: float) -> list[tuple[str, ...]]:
    """The table of clients, one tuple a client, as `COLUMNS` names them."""
    return [(str(k), *_cells(client, now)) for k, client in sorted(status.clients.items())]


def picture(status: Status, now: float, alive: bool | None = None) -> RenderableType:
    """All of it for a terminal."""
    said = [Text(line) for line in lines(status, now, alive)]
    said[0].stylize("bold red" if status.state == "failed" else "bold")
    if alive is False:
        said[-1].stylize("red")
    if not status.clients:
        return Group(*said)
    table = Table(header_style="dim", box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1))
    shown = _shown(rows(status, now))
    for place in shown:
        table.add_column(COLUMNS[place], justify="right" if place in (0, 2, 4, 5) else "left")
    for row in rows(status, now):
        cells = [Text(row[place]) for place in shown]
        cells[1].stylize(COLOURS.get(row[1], ""))
        table.add_row(*cells)
    return Group(*said, table)


def plain(status: Status, now: float, alive: bool | None = None) -> str:
    """All of it as text of any width, for a pipe or a file: no line is ever cut."""
    body = rows(status, now)
    shown = _shown(body)
    table = [[COLUMNS[place] for place in shown], *([row[place] for place in shown] for row in body)] if body else []
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    cells = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table)
    return "\n".join([*lines(status, now, alive), *cells])


def brief(status: Status | None, now: float) -> str:
    """In one line what the run does and whose answers are there; `now` in UTC seconds. None: it has not begun."""
    if status is None:
        return "starting"
    answers = f", answers of {len(status.received)} of {len(status.expected)} clients" if status.expected else ""
    return f"{_stage(status, now)}{answers}"


def _stage(status: Status, now: float) -> str:
    ago = span(now - status.since)
    match status.state:
        case "waiting":
            there = sum(client.state not in ("expected", "gone") for client in status.clients.values())
            return f"waiting for clients for {ago}: {there} of {len(status.clients)} are there"
        case "finished":
            return f"finished {ago} ago"
        case "failed":
            return f"failed {ago} ago" + (f" in stage {status.stage}" if status.stage else "") + f": {status.reason}"
    if not status.stage:
        return f"between two stages for {ago}"
    since = f"{datetime.fromtimestamp(status.since).astimezone():%H:%M:%S}"
    done = f", {100 * status.done / status.total:.0f} % done" if status.total else ""
    limit = f" of at most {span(status.limit)}" if status.limit else ""
    return f"stage {status.stage} since {since} ({ago}{limit}){done}"


def _named(status: Status, now: float) -> str:
    waiting = [(k, status.clients[k]) for k in status.waiting_for]
    named = [f"client {k} ({client.state} for {span(now - client.since)})" for k, client in waiting[:MOST_NAMED]]
    more = len(waiting) - MOST_NAMED
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def _cells(client: Client, now: float) -> tuple[str, ...]:
    samples = f"{client.samples:,}" if client.samples else ""
    received = size(client.bytes) if client.bytes else ""
    return client.state, span(now - client.since), client.architecture, samples, received, client.node, client.note


def _shown(body: Sequence[tuple[str, ...]]) -> list[int]:
    """The columns that say something of anybody."""
    return [place for place in range(len(COLUMNS)) if any(row[place] for row in body)]
