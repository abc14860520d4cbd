"""What a run is doing and how long it will take, on stderr."""

import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mosaic_fl.report.heartbeat import Heartbeat, clock
from mosaic_fl.storage.stopwatch import CLIENTS, Stopwatch

# who works beside the clients: the server, and the ceiling's training beside it
SERVER = -1
CEILING = -2
OF_CLIENTS = ("train", "generator")  # the parts of the time in which the run waits for contributions
MAX_LINES = 8  # running pieces shown at once: a run with 100 clients must not flood the screen
REFRESH_SECONDS = 0.1
BAR_WIDTH = 32


@dataclass
class Stage:
    """One stage of the plan.

    `weight` is its expected share of the work, `seconds` the time it has cost so far, `parts` the fraction
    done of each client that has reported (of the server under `SERVER`).
    """

    weight: float
    seconds: float = 0.0
    parts: dict[int, float] = field(default_factory=dict)
    started: float | None = None
    finished: bool = False

    def done(self, clients: int) -> float:
        """The fraction done, 0..1, where `clients` clients take part."""
        if self.finished:
            return 1.0
        pieces = 1 if SERVER in self.parts else max(clients, len(self.parts))
        return sum(self.parts.values()) / pieces


def time_left(stages: Sequence[Stage], clients: int) -> float | None:
    """Seconds until all `stages` are finished, or None before anything is measured.

    A stage that has not started costs its weight at the pace of the work measured so far. A stage that is
    running trusts its own pace the more, the further it is: with fraction f done in s seconds, its whole cost
    is taken as f·(s/f) + (1−f)·(weight·pace), and 1−f of that is left.
    """
    running = [(stage, stage.done(clients)) for stage in stages if not stage.finished]
    if not running:
        return 0.0
    measured = [stage for stage in stages if stage.parts]  # not what a resumed run took from its folder
    work = sum(stage.weight * stage.done(clients) for stage in measured)
    if work <= 0:
        return None
    pace = sum(stage.seconds for stage in measured) / work
    return sum((1 - f) * (stage.seconds + (1 - f) * stage.weight * pace) for stage, f in running)


class Display:
    """Shows the progress of a run: a context manager.

    On a terminal: one bar for all the work with the estimated time left, and one line for each running piece.
    Elsewhere (CI, a pipe): one plain line for each finished stage with its seconds, and one a minute with what is done
    and what is left.

    `plan` lists the stages in order with their expected share of the work, in any unit; `clients` is how many
    take part in a client stage; `console` is where to show it (default: stderr); `stopwatch` is the run's, whose
    figures are shown. `update` and `finish` may be called from any thread, also for stages that the plan does not know,
    and outside the `with` block.
    """

    def __init__(
        self,
        plan: Sequence[tuple[str, float]],
        console: Console | None = None,
        *,
        clients: int = 1,
        stopwatch: Stopwatch | None = None,
    ) -> None:
        self._stopwatch = stopwatch or Stopwatch()
        self._console = console or Console(stderr=True)
        self._clients = clients
        self._lock = threading.Lock()
        self._stages = {name: Stage(weight) for name, weight in plan}
        self._pieces: dict[int, tuple[str, int, int]] = {}
        self._began = self._ticked = self._console.get_time()
        self._shown = 0.0
        self._inside = False
        self._quit = threading.Event()
        self._heartbeat = Heartbeat(self._console, self.words)
        self._painter: threading.Thread | None = None
        self._live: Live | None = None

    def __enter__(self) -> Self:
        self._began = self._ticked = self._console.get_time()
        self._inside = True
        if self._console.is_interactive:
            self._live = Live(
                console=self._console,
                auto_refresh=False,  # rich does not wait for its own thread's end; ours is joined
                get_renderable=self._render,
                redirect_stdout=sys.stdout.isatty(),
            )
            try:
                self._live.start(refresh=True)
            except BaseException:
                self._stop()
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._pieces.clear()
        self._stop()

    def say(self, line: str) -> None:
        """Print a line where there is no terminal, whose bars say enough."""
        if not self._console.is_interactive:
            self._heartbeat.say(line)

    def update(self, stage: str, client: int, done: int, total: int) -> None:
        """`client` (−1: the server) has done `done` of `total` steps of `stage`.

        Cheap enough for every step. A client does one thing at a time: a new stage replaces its line, and
        `done` ≥ `total` removes it, so report (total, total) where a piece ends early.
        """
        fraction = min(max(done / total, 0.0), 1.0) if total > 0 else 1.0
        with self._lock:
            self._start_painting()
            entry = self._stages.get(stage)
            if entry is None:
                entry = self._stages[stage] = Stage(0.0)
            if entry.finished:  # a late message of a worker
                return
            if entry.started is None:
                self._tick()
                entry.started = self._ticked
            worker = CEILING if stage == "centralised" else client
            former = self._pieces.get(worker)
            if former is not None and former[0] != stage:
                self._stages[former[0]].parts[client] = 1.0
            entry.parts[client] = fraction
            if fraction < 1.0:
                self._pieces[worker] = (stage, done, total)
            else:
                self._tick()
                self._pieces.pop(worker, None)

    def finish(self, stage: str) -> None:
        """`stage` is over for everybody; its lines go, its share of the bar is full."""
        with self._lock:
            entry = self._stages.setdefault(stage, Stage(0.0))
            if entry.finished:
                return
            self._tick()
            entry.finished = True
            self._pieces = {k: piece for k, piece in self._pieces.items() if piece[0] != stage}
        cost = self._stopwatch.cost(stage)
        if cost is not None:
            self.say(f"{stage} · {cost}")

    def hear(self, stage: str, client: int, done: int, total: int) -> None:
        """As `update`, until the stopwatch says that the stage is over; those of the clients are over together."""
        if stage == CLIENTS:
            for name in (*OF_CLIENTS, CLIENTS):
                if name in self._stages or self._stopwatch.cost(name):
                    self.finish(name)
        elif client < 0 and done >= total and self._stopwatch.cost(stage):
            self.finish(stage)
        elif stage != "client":
            self.update(stage, client, done, total)

    def words(self) -> str:
        """In one line what is being done, how far it is, and how long it will take."""
        with self._lock:
            self._tick()
            at_work = list(dict.fromkeys(stage for stage, _, _ in self._pieces.values()))
            parts = [self._progress(name) for name in self._stages if name in at_work]
            elapsed = self._ticked - self._began
            left = time_left(list(self._stages.values()), self._clients)
        rest = f", about {clock(left)} left" if left else ""
        return f"{', '.join(parts) or 'between two stages'} · {clock(elapsed)} elapsed{rest}"

    def _progress(self, name: str) -> str:
        stage = self._stages[name]
        if SERVER in stage.parts or self._clients == 1:
            return f"{name} · {100 * stage.done(self._clients):.0f} %"
        ready = sum(part >= 1.0 for part in stage.parts.values())
        return f"{name} · {ready} of {self._clients} clients"

    def _tick(self) -> None:
        """Charge the time since the last tick to the running pieces' stages, in equal parts."""
        now = self._console.get_time()
        for stage, _, _ in self._pieces.values():
            self._stages[stage].seconds += (now - self._ticked) / len(self._pieces)
        self._ticked = now

    def _render(self) -> Table:
        with self._lock:
            self._tick()
            pieces = sorted(self._pieces.items())
            left = time_left(list(self._stages.values()), self._clients)
            elapsed = self._ticked - self._began
        if left is not None and elapsed + left > 0:
            self._shown = max(self._shown, elapsed / (elapsed + left))  # a bar that goes back is no bar
        state = clock(elapsed)
        if left is None:
            state += " · estimating the time left"
        elif left > 0:
            state += f" · about {clock(left)} left"
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_row(_bar(self._shown, "cyan"), _line(f"{100 * self._shown:.0f} % · {state}"))
        for client, (stage, done, total) in pieces[:MAX_LINES]:
            who = "server" if client < 0 else f"client {client}"
            grid.add_row(_bar(done / total, "dim cyan"), _line(f"{who} · {stage} ", f"{done}/{total}"))
        if len(pieces) > MAX_LINES:
            grid.add_row("", _line("", f"and {len(pieces) - MAX_LINES} more"))
        return grid

    def _start_painting(self) -> None:
        """Start the thread with the first news: by then the workers exist, and none is forked beside it."""
        if self._inside and not self._console.is_interactive:
            self._heartbeat.start()
        if self._live is not None and self._painter is None and not self._quit.is_set():
            self._painter = threading.Thread(target=self._paint, args=(self._live,), daemon=True)
            self._painter.start()

    def _paint(self, live: Live) -> None:
        while not self._quit.wait(REFRESH_SECONDS):
            live.refresh()

    def _stop(self) -> None:
        """End the thread and give the terminal back, whatever interrupts this."""
        with self._lock:
            self._quit.set()
        self._heartbeat.stop()
        if self._live is None:
            return
        try:
            if self._painter is not None:
                self._painter.join()
        finally:
            try:
                self._live.stop()
            finally:
                self._console.show_cursor(True)


def _bar(fraction: float, style: str) -> ProgressBar:
    return ProgressBar(
        total=1.0,
        completed=fraction,
        width=BAR_WIDTH,
        complete_style=style,
        finished_style=style,
        style="bright_black",
    )


def _line(text: str, quiet: str = "") -> Text:
    return Text.assemble(text, (quiet, "dim"), no_wrap=True, overflow="ellipsis")
