"""What a run is doing and how long it will take, on stderr."""

import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

SERVER = -1
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
    Elsewhere (CI, a pipe): one plain line for each finished stage with its seconds.

    `plan` lists the stages in order with their expected share of the work, in any unit; `clients` is how many
    take part in a client stage; `console` is where to show it (default: stderr). `update` and `finish` may
    be called from any thread, also for stages that the plan does not know, and outside the `with` block.
    """

    def __init__(self, plan: Sequence[tuple[str, float]], console: Console | None = None, *, clients: int = 1) -> None:
        self._console = console or Console(stderr=True)
        self._clients = clients
        self._lock = threading.Lock()
        self._stages = {name: Stage(weight) for name, weight in plan}
        self._pieces: dict[int, tuple[str, int, int]] = {}
        self._began = self._ticked = self._last_finish = self._console.get_time()
        self._shown = 0.0
        self._quit = threading.Event()
        self._painter: threading.Thread | None = None
        self._live: Live | None = None

    def __enter__(self) -> Self:
        self._began = self._ticked = self._last_finish = self._console.get_time()
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
            former = self._pieces.get(client)
            if former is not None and former[0] != stage:
                self._stages[former[0]].parts[client] = 1.0
            entry.parts[client] = fraction
            if fraction < 1.0:
                self._pieces[client] = (stage, done, total)
            else:
                self._tick()
                self._pieces.pop(client, None)

    def finish(self, stage: str) -> None:
        """`stage` is over for everybody; its lines go, its share of the bar is full."""
        with self._lock:
            entry = self._stages.setdefault(stage, Stage(0.0))
            if entry.finished:
                return
            self._tick()
            now = self._ticked
            began = self._last_finish if entry.started is None else entry.started
            entry.finished = True
            self._last_finish = now
            self._pieces = {k: piece for k, piece in self._pieces.items() if piece[0] != stage}
        if not self._console.is_interactive:
            with suppress(OSError):  # a closed pipe is no reason to end the run
                self._console.print(Text(f"{stage} · {now - began:.1f} s"), soft_wrap=True)

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
        state = _clock(elapsed)
        if left is None:
            state += " · estimating the time left"
        elif left > 0:
            state += f" · about {_clock(left)} left"
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_row(_bar(self._shown, "cyan"), _line(f"{100 * self._shown:.0f} % · {state}"))
        for client, (stage, done, total) in pieces[:MAX_LINES]:
            who = "server" if client == SERVER else f"client {client}"
            grid.add_row(_bar(done / total, "dim cyan"), _line(f"{who} · {stage} ", f"{done}/{total}"))
        if len(pieces) > MAX_LINES:
            grid.add_row("", _line("", f"and {len(pieces) - MAX_LINES} more"))
        return grid

    def _start_painting(self) -> None:
        """Start the thread with the first news: by then the workers exist, and none is forked beside it."""
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


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
