"""The progress display of a run, on stderr: its stages, their progress and the time left."""

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

# keys of the pieces that are no client's: the server's, and the training of the ceiling
SERVER = -1
CEILING = -2
OF_CLIENTS = ("train", "generator")  # the stages in which the run waits for contributions
MAX_LINES = 8  # of running pieces: a run with 100 clients must not fill the screen
REFRESH_SECONDS = 0.1
BAR_WIDTH = 32


@dataclass
class Stage:
    """One stage of the plan.

    `weight` is its expected share of the work, `seconds` its cost so far, `parts` the finished fraction of each
    client that has reported (of the server under the key `SERVER`), `start` the time of its first report.
    """

    weight: float
    seconds: float = 0.0
    parts: dict[int, float] = field(default_factory=dict)
    start: float | None = None
    over: bool = False

    def fraction(self, clients: int) -> float:
        """The finished fraction of the stage, 0..1; `clients` is the number of clients."""
        if self.over:
            return 1.0
        pieces = 1 if SERVER in self.parts else max(clients, len(self.parts))
        return sum(self.parts.values()) / pieces


def remaining_seconds(stages: Sequence[Stage], clients: int) -> float | None:
    """Seconds until all `stages` are over, or None before the first measurement.

    A stage that has not begun costs its weight at the pace of the work measured so far. The further a running
    stage is, the more its own pace counts: with fraction f finished in s seconds, its whole cost is taken as
    f·(s/f) + (1−f)·(weight·pace), and 1−f of that remains.
    """
    running = [(stage, stage.fraction(clients)) for stage in stages if not stage.over]
    if not running:
        return 0.0
    timed = [stage for stage in stages if stage.parts]  # without the stages that a resumed run read from its folder
    work = sum(stage.weight * stage.fraction(clients) for stage in timed)
    if work <= 0:
        return None
    pace = sum(stage.seconds for stage in timed) / work
    return sum((1 - f) * (stage.seconds + (1 - f) * stage.weight * pace) for stage, f in running)


class Display:
    """Shows the progress of a run: a context manager.

    On a terminal it is one bar for all the work with the estimated time left, and one line for each running piece.
    Elsewhere (CI, a pipe) it is one plain line for each finished stage with its seconds, and one line a minute with
    the progress and the time left.

    `plan` lists the stages in order with their expected share of the work, in any unit. `clients` is the number of
    clients in a client stage. `console` is the output (default: stderr). The times shown are those of the run's
    `stopwatch`. `update` and `finish` may be called from any thread, for stages outside the plan, and outside the
    `with` block.
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
        self._running: dict[int, tuple[str, int, int]] = {}
        self._start = self._last_tick = self._console.get_time()
        self._bar_fraction = 0.0
        self._inside = False
        self._quit = threading.Event()
        self._heartbeat = Heartbeat(self._console, self.line)
        self._painter: threading.Thread | None = None
        self._live: Live | None = None

    def __enter__(self) -> Self:
        self._start = self._last_tick = self._console.get_time()
        self._inside = True
        if self._console.is_interactive:
            self._live = Live(
                console=self._console,
                auto_refresh=False,  # rich does not join its own thread; this class joins its own
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
            self._running.clear()
        self._stop()

    def say(self, line: str) -> None:
        """Print a line, except on a terminal, where the bars suffice."""
        if not self._console.is_interactive:
            self._heartbeat.say(line)

    def update(self, stage: str, client: int, step: int, total: int) -> None:
        """`client` (−1: the server) has finished `step` of `total` steps of `stage`.

        The call is cheap enough for every step. A client has one stage at a time: a new stage replaces its line, and
        `step` ≥ `total` removes it. A piece that ends early must therefore report (total, total).
        """
        fraction = min(max(step / total, 0.0), 1.0) if total > 0 else 1.0
        with self._lock:
            self._start_painting()
            entry = self._stages.get(stage)
            if entry is None:
                entry = self._stages[stage] = Stage(self._weight_of(stage))
            if entry.over:  # a late message of a worker
                return
            if entry.start is None:
                self._tick()
                entry.start = self._last_tick
            worker = CEILING if stage == "centralised" else client
            previous = self._running.get(worker)
            if previous is not None and previous[0] != stage:
                self._stages[previous[0]].parts[client] = 1.0
            entry.parts[client] = fraction
            if fraction < 1.0:
                self._running[worker] = (stage, step, total)
            else:
                self._tick()
                self._running.pop(worker, None)

    def _weight_of(self, stage: str) -> float:
        """The weight of a stage that is not in the plan: `student-2` weighs as `student`, others nothing."""
        alike = self._stages.get(stage.partition("-")[0])
        return alike.weight if alike else 0.0

    def finish(self, stage: str) -> None:
        """End `stage` for the server and all clients: its lines disappear, its share of the bar is full."""
        with self._lock:
            entry = self._stages.setdefault(stage, Stage(self._weight_of(stage)))
            if entry.over:
                return
            self._tick()
            entry.over = True
            self._running = {k: piece for k, piece in self._running.items() if piece[0] != stage}
        cost = self._stopwatch.cost(stage)
        if cost is not None:
            self.say(f"{stage} · {cost}")

    def hear(self, stage: str, client: int, step: int, total: int) -> None:
        """As `update`, but end a stage that the stopwatch has ended; the stages of the clients end together."""
        if stage == CLIENTS:
            for name in (*OF_CLIENTS, CLIENTS):
                if name in self._stages or self._stopwatch.cost(name):
                    self.finish(name)
        elif client < 0 and step >= total and self._stopwatch.cost(stage):
            self.finish(stage)
        elif stage != "client":
            self.update(stage, client, step, total)

    def line(self) -> str:
        """One line: the running stages, their progress, the elapsed time and the time left."""
        with self._lock:
            self._tick()
            names = {stage for stage, _, _ in self._running.values()}
            parts = [self._progress(name) for name in self._stages if name in names]
            elapsed = self._last_tick - self._start
            remaining = remaining_seconds(list(self._stages.values()), self._clients)
        remainder = f", about {clock(remaining)} left" if remaining else ""
        return f"{', '.join(parts) or 'between two stages'} · {clock(elapsed)} elapsed{remainder}"

    def _progress(self, name: str) -> str:
        stage = self._stages[name]
        if SERVER in stage.parts or self._clients == 1:
            return f"{name} · {100 * stage.fraction(self._clients):.0f} %"
        ready = sum(part >= 1.0 for part in stage.parts.values())
        return f"{name} · {ready} of {self._clients} clients"

    def _tick(self) -> None:
        """Charge the time since the last tick to the running pieces' stages, in equal parts."""
        now = self._console.get_time()
        for stage, _, _ in self._running.values():
            self._stages[stage].seconds += (now - self._last_tick) / len(self._running)
        self._last_tick = now

    def _render(self) -> Table:
        with self._lock:
            self._tick()
            pieces = sorted(self._running.items())
            remaining = remaining_seconds(list(self._stages.values()), self._clients)
            elapsed = self._last_tick - self._start
        if remaining is not None and elapsed + remaining > 0:
            self._bar_fraction = max(self._bar_fraction, elapsed / (elapsed + remaining))  # the bar never goes back
        state = clock(elapsed)
        if remaining is None:
            state += " · estimating the time left"
        elif remaining > 0:
            state += f" · about {clock(remaining)} left"
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_row(_bar(self._bar_fraction, "cyan"), _line(f"{100 * self._bar_fraction:.0f} % · {state}"))
        for client, (stage, step, total) in pieces[:MAX_LINES]:
            worker = "server" if client < 0 else f"client {client}"
            grid.add_row(_bar(step / total, "dim cyan"), _line(f"{worker} · {stage} ", f"{step}/{total}"))
        if len(pieces) > MAX_LINES:
            grid.add_row("", _line("", f"and {len(pieces) - MAX_LINES} more"))
        return grid

    def _start_painting(self) -> None:
        """Start the thread at the first report: by then all workers exist, and no fork happens beside a thread."""
        if self._inside and not self._console.is_interactive:
            self._heartbeat.start()
        if self._live is not None and self._painter is None and not self._quit.is_set():
            self._painter = threading.Thread(target=self._paint, args=(self._live,), daemon=True)
            self._painter.start()

    def _paint(self, live: Live) -> None:
        while not self._quit.wait(REFRESH_SECONDS):
            live.refresh()

    def _stop(self) -> None:
        """End the thread and restore the terminal, even if this is interrupted."""
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
