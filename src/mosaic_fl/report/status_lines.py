"""The status of a run over a network as text: its stage, the clients it waits for, the clients left out."""

from collections.abc import Sequence
from datetime import datetime

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mosaic_fl.watch.status import Client, Status
from mosaic_fl.watch.words import size, span

MAX_NAMES = 8  # of clients in one line; the table has all
COLOURS = {"received": "green", "working": "cyan", "left out": "red", "gone": "yellow", "expected": "dim"}
COLUMNS = ("client", "state", "for", "model", "samples", "received", "node", "note")
AGAIN = "start it again with the same command and --resume; what was received is kept"


def lines(status: Status, now: float, alive: bool | None = None) -> list[str]:
    """The status without the table of clients, one sentence a line, at the time `now` (UTC seconds).

    `alive` says whether the run's process still runs (None: unknown).
    """
    sentences = [_stage(status, now)]
    if status.expected and status.state in ("running", "failed"):
        sentences.append(f"received {len(status.received)} of {len(status.expected)}")
    if status.waiting_for:
        sentences.append(f"waiting for {_waiting_for(status, now)}")
    sentences += [f"left out of {entry.stage}: client {entry.client}: {entry.reason}" for entry in status.left_out]
    if status.restarts:
        sentences.append(f"taken up again {'once' if status.restarts == 1 else f'{status.restarts} times'}")
    if alive is False:
        sentences.append(f"its process {status.pid} is gone: it was killed, or its machine restarted; {AGAIN}")
    elif status.state == "failed":
        sentences.append(AGAIN)
    return sentences


def rows(status: Status, now: float) -> list[tuple[str, ...]]:
    """The table of clients, one tuple a client, as `COLUMNS` names them."""
    return [(str(k), *_cells(client, now)) for k, client in sorted(status.clients.items())]


def picture(status: Status, now: float, alive: bool | None = None) -> RenderableType:
    """The whole status for a terminal."""
    texts = [Text(line) for line in lines(status, now, alive)]
    texts[0].stylize("bold red" if status.state == "failed" else "bold")
    if alive is False:
        texts[-1].stylize("red")
    if not status.clients:
        return Group(*texts)
    table = Table(header_style="dim", box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1))
    body = rows(status, now)
    columns = _nonempty_columns(body)
    for column in columns:
        table.add_column(COLUMNS[column], justify="right" if column in (0, 2, 4, 5) else "left")
    for row in body:
        cells = [Text(row[column]) for column in columns]
        cells[1].stylize(COLOURS.get(row[1], ""))
        table.add_row(*cells)
    return Group(*texts, table)


def plain(status: Status, now: float, alive: bool | None = None) -> str:
    """The whole status as text of any width, for a pipe or a file: no line is cut."""
    body = rows(status, now)
    columns = _nonempty_columns(body)
    head = [COLUMNS[column] for column in columns]
    table = [head, *([row[column] for column in columns] for row in body)] if body else []
    widths = [max(map(len, texts)) for texts in zip(*table, strict=True)]
    cells = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table)
    return "\n".join([*lines(status, now, alive), *cells])


def brief(status: Status | None, now: float) -> str:
    """The status in one line; `now` is in UTC seconds. A status of None is that of a run that has not begun."""
    if status is None:
        return "starting"
    answers = f", answers of {len(status.received)} of {len(status.expected)} clients" if status.expected else ""
    return f"{_stage(status, now)}{answers}"


def _stage(status: Status, now: float) -> str:
    """The state of the run or its stage, with times."""
    ago = span(now - status.since)
    match status.state:
        case "waiting":
            present = sum(client.state not in ("expected", "gone") for client in status.clients.values())
            return f"waiting for clients for {ago}: {present} of {len(status.clients)} are there"
        case "finished":
            return f"finished {ago} ago"
        case "failed":
            return f"failed {ago} ago" + (f" in stage {status.stage}" if status.stage else "") + f": {status.reason}"
    if not status.stage:
        return f"between two stages for {ago}"
    since = f"{datetime.fromtimestamp(status.since).astimezone():%H:%M:%S}"
    progress = f", {100 * status.done / status.total:.0f} % done" if status.total else ""
    limit = f" of at most {span(status.limit)}" if status.limit else ""
    return f"stage {status.stage} since {since} ({ago}{limit}){progress}"


def _waiting_for(status: Status, now: float) -> str:
    waiting = [(k, status.clients[k]) for k in status.waiting_for]
    names = [f"client {k} ({client.state} for {span(now - client.since)})" for k, client in waiting[:MAX_NAMES]]
    more = len(waiting) - MAX_NAMES
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")


def _cells(client: Client, now: float) -> tuple[str, ...]:
    samples = f"{client.samples:,}" if client.samples else ""
    volume = size(client.bytes) if client.bytes else ""
    return client.state, span(now - client.since), client.architecture, samples, volume, client.node, client.note


def _nonempty_columns(body: Sequence[tuple[str, ...]]) -> list[int]:
    """The indices of the columns that are not empty for every client."""
    return [column for column in range(len(COLUMNS)) if any(row[column] for row in body)]
