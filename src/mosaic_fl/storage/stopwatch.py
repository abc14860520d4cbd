"""The clock of a run: the seconds of each stage, which add up to the run's time. Forecasts and reports use it."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

OTHER = "other"
"""The time outside of all stages: reading data, starting processes, measuring, writing."""
CLIENTS = "clients"
"""The stage in which the run waits for contributions. Its time counts for the stages that the clients report."""


class Stopwatch:
    """Seconds by stage since its creation. Every moment counts for one stage: the one that the run waits for.

    The time of a stage within another does not count for the outer one. `now` gives seconds. Any thread may call
    `hear`.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._earlier = dict[str, float]()  # seconds of earlier processes of a resumed run
        self._seconds = dict[str, float]()
        self._open = [OTHER]
        self._client_stages = dict[int, str]()  # the running stage of each client
        self._latest = ""  # the client stage of the latest report
        self._since = now()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time within the block for `name`."""
        self._turn(lambda: self._open.append(name))
        try:
            yield
        finally:
            self._turn(self._close)

    def hear(self, stage: str, client: int, done: int, total: int) -> None:
        """`client` has done `done` of `total` steps of `stage`; a `monitor.Listener`.

        While the run waits for contributions, its time is divided equally among the stages that its clients are in.
        """
        with self._lock:
            if self._open[-1] != CLIENTS or client < 0 or stage == "client":
                return
            self._charge()
            self._latest = stage
            if done < total:
                self._client_stages[client] = stage
            else:
                self._client_stages.pop(client, None)

    def recall(self, before: Mapping[str, float]) -> None:
        """Also count the seconds by stage `before` of earlier processes."""
        with self._lock:
            self._earlier = dict(before)

    def seconds(self) -> dict[str, float]:
        """Seconds by stage until now, with those of earlier processes, in the order of the stages."""
        with self._lock:
            self._charge()
            names = [name for name in (*self._earlier, *self._seconds) if name != OTHER]
            order = dict.fromkeys([*names, OTHER])
            return {name: self._earlier.get(name, 0.0) + self._seconds.get(name, 0.0) for name in order}

    def cost(self, name: str) -> str | None:
        """The time of the stage `name`, as "6.0 s", or "kept" where an earlier process did it; None before its end."""
        if name in self._open:
            return None
        if name in self._seconds:
            return f"{self.seconds()[name]:.1f} s"
        return "kept" if name in self._earlier else None

    def report(self) -> dict[str, float]:
        """As `seconds`, to the millisecond, and their sum as `total`."""
        stages = {name: round(seconds, 3) for name, seconds in self.seconds().items()}
        return stages | {"total": round(sum(stages.values()), 3)}

    def _turn(self, change: Callable[[], object]) -> None:
        with self._lock:
            self._charge()
            change()

    def _close(self) -> None:
        if self._open.pop() == CLIENTS:
            self._client_stages.clear()
            if self._latest:  # it also gets the time before the first report
                wait = self._seconds.pop(CLIENTS, 0.0)
                self._seconds[self._latest] = self._seconds.get(self._latest, 0.0) + wait
            self._latest = ""

    def _charge(self) -> None:
        """Count the time since the last charge for the open stage."""
        now = self._now()
        names = [self._open[-1]]
        seconds = now - self._since
        if names == [CLIENTS] and self._latest:
            names = list(self._client_stages.values()) or [self._latest]
        for name in names:
            self._seconds[name] = self._seconds.get(name, 0.0) + seconds / len(names)
        self._since = now
