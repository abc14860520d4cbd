"""Where nobody watches a terminal (CI, a pipe, a log): one plain line for each event, and one a minute between them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.text import Text

EVERY = 60.0  # seconds without a line after which there is one
LOOK = 0.5  # seconds between two looks at the clock


class Heartbeat:
    """Prints lines on `console`, and what `words` gives whenever a minute has passed since the last one.

    The time is the console's own clock. `beat` may be called by whoever works; with `start`, a thread does, until
    `stop`, which a context manager calls. No thread is started before `start`: who forks must be alone.
    """

    def __init__(self, console: Console, words: Callable[[], str]) -> None:
        self._console = console
        self._words = words
        self._lock = threading.Lock()
        self._quit = threading.Event()
        self._spoke = console.get_time()
        self._thread: threading.Thread | None = None

    def say(self, line: str) -> None:
        """Print a line now; the next minute begins."""
        with self._lock:
            self._print(line)

    def beat(self) -> None:
        """Print what there is to say if a minute has passed."""
        with self._lock:
            if self._console.get_time() - self._spoke >= EVERY:
                self._print(self._words())

    def start(self) -> None:
        """Beat from a thread of its own from now on."""
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
        while not self._quit.wait(LOOK):
            self.beat()

    def _print(self, line: str) -> None:
        self._spoke = self._console.get_time()
        with suppress(OSError):  # a closed pipe is no reason to end the run
            self._console.print(Text(line), soft_wrap=True)


@contextmanager
def waiting(console: Console, what: str) -> Iterator[None]:
    """Say `what` is being done within the block: a spinner on a terminal; else a line at once, and one a minute.

    Its thread has ended when the block is left, so that workers can be forked after it.
    """
    if console.is_interactive:
        with console.status(what):
            yield
        return
    begin = console.get_time()
    with Heartbeat(console, lambda: f"{what} · {clock(console.get_time() - begin)} elapsed") as heartbeat:
        heartbeat.say(what)
        heartbeat.start()
        yield


@contextmanager
def counting(console: Console, what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Say how many of `total` things are done, as the function that it gives is told, and how long the rest will take.

    On a terminal a line that changes; else a line a minute, and none within the first.
    """
    begin = console.get_time()
    done = 0

    def words() -> str:
        elapsed = console.get_time() - begin
        left = f", about {clock(elapsed * (total - done) / done)} left" if 0 < done < total else ""
        return f"{what} · {done:,} of {total:,} · {clock(elapsed)} elapsed{left}"

    heartbeat = Heartbeat(console, words)
    with console.status(words()) if console.is_interactive else nullcontext() as status:

        def tell(now: int) -> None:
            nonlocal done
            done = now
            if status is None:
                heartbeat.beat()
            else:
                status.update(words())

        yield tell


def clock(seconds: float) -> str:
    """Hours, minutes and seconds, as 1:02:03; 2:03 below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
