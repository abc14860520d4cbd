"""The one clock of a run: where its seconds went, in stages that add up to the whole."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

OTHER = "other"
"""What no stage counts: reading data, starting processes, measuring, writing."""
CLIENTS = "clients"
"""The stage in which the run waits for contributions; its time is that of what the clients say that they do."""


class Stopwatch:
    """Seconds by stage since it was made; every moment counts for one stage, that which the run waits for.

    A stage within another takes its time out of the outer one's. `now` gives seconds. Any thread may tell what it
    `hear`s.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._before = dict[str, float]()  # of earlier processes, which a resumed run has spent, too
        self._spent = dict[str, float]()
        self._open = [OTHER]
        self._pieces = dict[int, str]()  # what each client does
        self._heard = ""  # the latest of that
        self._since = now()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """The time within the block is that of `name`."""
        self._turn(lambda: self._open.append(name))
        try:
            yield
        finally:
            self._turn(self._close)

    def hear(self, stage: str, client: int, done: int, total: int) -> None:
        """`client` has done `done` of `total` steps of `stage`; a `monitor.Listener`.

        While the run waits for contributions, the time goes in equal parts to what its clients are doing.
        """
        with self._lock:
            if self._open[-1] != CLIENTS or client < 0 or stage == "client":
                return
            self._charge()
            self._heard = stage
            if done < total:
                self._pieces[client] = stage
            else:
                self._pieces.pop(client, None)

    def recall(self, before: Mapping[str, float]) -> None:
        """Count the seconds `before` of earlier processes, too."""
        with self._lock:
            self._before = dict(before)

    def seconds(self) -> dict[str, float]:
        """Seconds by stage until now, in the order in which the stages came, those of earlier processes included."""
        with self._lock:
            self._charge()
            names = [name for name in (*self._before, *self._spent) if name != OTHER]
            order = dict.fromkeys([*names, OTHER])
            return {name: self._before.get(name, 0.0) + self._spent.get(name, 0.0) for name in order}

    def cost(self, name: str) -> str | None:
        """What the stage `name` cost, as "6.0 s", or "kept" where an earlier process did it; None before it is over."""
        if name in self._open:
            return None
        if name in self._spent:
            return f"{self.seconds()[name]:.1f} s"
        return "kept" if name in self._before else None

    def report(self) -> dict[str, float]:
        """As `seconds`, to the millisecond, and their sum as `total`."""
        stages = {name: round(spent, 3) for name, spent in self.seconds().items()}
        return stages | {"total": round(sum(stages.values()), 3)}

    def _turn(self, change: Callable[[], object]) -> None:
        with self._lock:
            self._charge()
            change()

    def _close(self) -> None:
        if self._open.pop() == CLIENTS:
            self._pieces.clear()
            if self._heard:  # the time before the first word was spent on it
                waited = self._spent.pop(CLIENTS, 0.0)
                self._spent[self._heard] = self._spent.get(self._heard, 0.0) + waited
            self._heard = ""

    def _charge(self) -> None:
        """Give the time since the last charge to the stage that is open."""
        now = self._now()
        names = [self._open[-1]]
        spent = now - self._since
        if names == [CLIENTS] and self._heard:
            names = list(self._pieces.values()) or [self._heard]
        for name in names:
            self._spent[name] = self._spent.get(name, 0.0) + spent / len(names)
        self._since = now
