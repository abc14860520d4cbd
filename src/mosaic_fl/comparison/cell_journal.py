"""The memory of a cell that was killed: its finished stages on disk, and what they cost."""

import json
import time
from dataclasses import asdict, dataclass
from operator import add, sub
from pathlib import Path

from mosaic_fl.engines.shared import SharedFederation
from mosaic_fl.errors import UsageError
from mosaic_fl.storage.files import read_bytes, write_atomic
from mosaic_fl.storage.journal import Advance, Journal, Stage
from mosaic_fl.training.monitor import Listener, deaf


@dataclass(frozen=True)
class Cost:
    """Seconds of work at each client, and of the server alone, without waiting for them."""

    clients: tuple[float, ...]
    server: float

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(tuple(map(add, self.clients, other.clients)), self.server + other.server)

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(tuple(map(sub, self.clients, other.clients)), self.server - other.server)


class CellJournal(Journal):
    """A journal whose stages cost what they took when they were done, however often the cell was begun again.

    Only the seconds in which they were written are lost with the process that wrote them.

    What a method asks its clients outside of any stage it asks again, and an engine that recalls the answer counts it
    again: so that alone which lies within a recalled stage is added here. What a stage within another costs (DFRD's
    statistics, within a round) is part of that one's cost, too.
    """

    def __init__(self, folder: Path, federation: SharedFederation, listen: Listener = deaf) -> None:
        super().__init__(folder, listen)
        self.federation = federation
        self._begin = time.perf_counter()
        self._costs = _read(self._file)
        self._missed = dict(self._costs)  # of stages that no one has asked for since
        self._recalled = Cost((0.0,) * len(federation.seconds), 0.0)
        self._before = self._spent()

    @property
    def cost(self) -> Cost:
        """Of all that was done by now, before a kill or after it."""
        return self._recalled + self._spent()

    def parts(self, name: str, count: int, compute: Advance) -> Stage:
        """As `Journal.parts`, with the cost of a stage from before a kill added to what this process spent."""
        outer = self._before
        recalled = self._recalled
        self._before = self._spent()
        if self.recall(name) is not None and (cost := self._missed.pop(name, None)) is not None:
            self._recalled += cost
        try:
            return super().parts(name, count, compute)
        finally:  # the stage around this one, if any, began earlier
            self._before = outer - (self._recalled - recalled)

    def keep(self, name: str, stage: Stage) -> None:
        """As `Journal.keep`; a new stage's cost is there before it, and so never missing."""
        if name not in self.done:
            self._costs[name] = self._spent() - self._before
            self._missed.pop(name, None)  # done again, for its file was lost
            costs = {known: asdict(cost) for known, cost in self._costs.items()}
            write_atomic(self._file, json.dumps(costs))
        super().keep(name, stage)

    def _half(self, name: str) -> tuple[Stage, int]:
        """As `Journal._half`; what is done in parts is the server's work alone."""
        half, done = super()._half(name)
        spent = Cost((0.0,) * len(self.federation.seconds), half.seconds)
        self._recalled = self._recalled + spent
        self._before = self._before - spent
        return half, done

    @property
    def _file(self) -> Path:
        assert self.folder is not None
        return self.folder / "costs.json"

    def _spent(self) -> Cost:
        server = time.perf_counter() - self._begin - self.federation.wait_seconds
        return Cost(tuple(self.federation.seconds), server)


def _read(path: Path) -> dict[str, Cost]:
    """The costs by stage; none where the file is not there, or damaged."""
    try:
        kept = json.loads(read_bytes(path))
        return {name: Cost(tuple(cost["clients"]), cost["server"]) for name, cost in kept.items()}
    except (UsageError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}
