"""Progress as plain lines, for CI, a pipe or a log: one line for each event, and one a minute between events.

On a terminal, `waiting` and `counting` show a spinner instead.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.text import Text

INTERVAL = 60.0  # seconds from one line to the next, at most
POLL = 0.5  # seconds between two readings of the clock


class Heartbeat:
    """Prints lines on `console`, and the line of `progress` whenever a minute has passed since the last line.

    The time is the console's own clock. The working code may call `beat`. After `start`, a thread calls it, until
    `stop`, which a context manager calls. Before `start` there is no thread: a process must fork without threads.
    """

    def __init__(self, console: Console, progress: Callable[[], str]) -> None:
        self._console = console
        self._progress = progress
        self._lock = threading.Lock()
        self._quit = threading.Event()
        self._last_line_at = console.get_time()
        self._thread: threading.Thread | None = None

    def say(self, line: str) -> None:
        """Print a line now; the next minute begins."""
        with self._lock:
            self._print(line)

    def beat(self) -> None:
        """Print the line of progress if a minute has passed."""
        with self._lock:
            if self._console.get_time() - self._last_line_at >= INTERVAL:
                self._print(self._progress())

    def start(self) -> None:
        """From now on, call `beat` from a thread."""
        if self._thread is None and not self._quit.is_set():
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread, if there is one."""
        self._quit.set()
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        while not self._quit.wait(POLL):
            self.beat()

    def _print(self, line: str) -> None:
        self._last_line_at = self._console.get_time()
        with suppress(OSError):  # a closed pipe is no reason to end the run
            self._console.print(Text(line), soft_wrap=True)


@contextmanager
def waiting(console: Console, activity: str) -> Iterator[None]:
    """Show `activity` during the block: a spinner on a terminal; else a line at once, and one a minute.

    Its thread ends with the block, so that workers can be forked after it.
    """
    if console.is_interactive:
        with console.status(activity):
            yield
        return
    begin = console.get_time()
    with Heartbeat(console, lambda: f"{activity} · {clock(console.get_time() - begin)} elapsed") as heartbeat:
        heartbeat.say(activity)
        heartbeat.start()
        yield


@contextmanager
def counting(console: Console, activity: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how many of `total` items are ready, and the time for the others; yields a function that sets the number.

    On a terminal this is one line that changes; elsewhere a line a minute, the first one after a minute.
    """
    begin = console.get_time()
    count = 0

    def progress() -> str:
        elapsed = console.get_time() - begin
        remainder = f", about {clock(elapsed * (total - count) / count)} left" if 0 < count < total else ""
        return f"{activity} · {count:,} of {total:,} · {clock(elapsed)} elapsed{remainder}"

    heartbeat = Heartbeat(console, progress)
    with console.status(progress()) if console.is_interactive else nullcontext() as status:

        def set_count(new_count: int) -> None:
            nonlocal count
            count = new_count
            if status is None:
                heartbeat.beat()
            else:
                status.update(progress())

        yield set_count


def clock(seconds: float) -> str:
    """Seconds as hours, minutes and seconds: "1:02:03", or "2:03" below an hour."""
    all_minutes, whole_seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(all_minutes, 60)
    return f"{hours}:{minutes:02}:{whole_seconds:02}" if hours else f"{minutes}:{whole_seconds:02}"
