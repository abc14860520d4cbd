"""The journal of a comparison's cell: its finished stages on disk and their costs, so that a killed cell resumes."""

import time
from contextlib import suppress
from dataclasses import dataclass
from operator import add, sub
from pathlib import Path
from typing import Any

from mosaic_fl.engines.shared import SharedFederation
from mosaic_fl.errors import UsageError
from mosaic_fl.storage import json_lines
from mosaic_fl.storage.journal import Advance, Journal, Stage
from mosaic_fl.training.monitor import Listener, deaf

COSTS = "costs.jsonl"
MAX_COSTS = 2**28  # bytes


@dataclass(frozen=True)
class Cost:
    """Seconds of work at each client, and of the server without its waiting for clients."""

    clients: tuple[float, ...]
    server: float

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(tuple(map(add, self.clients, other.clients)), self.server + other.server)

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(tuple(map(sub, self.clients, other.clients)), self.server - other.server)


class CellJournal(Journal):
    """A journal that stores the cost of each stage, so that a resumed cell reports the cost of all its work.

    The cost of a stage is that of the process that finished it. Only the seconds of writing it are lost if that process
    is killed.

    This journal adds only the costs of recalled stages. Requests to clients outside of all stages are repeated in a
    resumed cell, and the engine counts their cost again, even if it recalls the answer. The cost of a stage includes
    that of stages within it (DFRD's statistics, within a round).
    """

    def __init__(self, folder: Path, federation: SharedFederation, listen: Listener = deaf) -> None:
        super().__init__(folder, listen)
        self.federation = federation
        self._begin = time.perf_counter()
        self._pending = _read(self._file, len(federation.seconds))  # of stages that this process has not recalled yet
        self._recalled_cost = Cost((0.0,) * len(federation.seconds), 0.0)
        self._start_cost = self._process_cost()

    @property
    def cost(self) -> Cost:
        """The cost of all work so far, of this process and of killed ones."""
        return self._recalled_cost + self._process_cost()

    def parts(self, name: str, count: int, compute: Advance) -> Stage:
        """As `Journal.parts`; adds the cost of a recalled stage."""
        outer_start = self._start_cost
        recalled_before = self._recalled_cost
        self._start_cost = self._process_cost()
        if self.recall(name) is not None and (cost := self._pending.pop(name, None)) is not None:
            self._recalled_cost += cost
        try:
            return super().parts(name, count, compute)
        finally:  # back to the start of the outer stage, if any
            self._start_cost = outer_start - (self._recalled_cost - recalled_before)

    def keep(self, name: str, stage: Stage) -> None:
        """As `Journal.keep`; writes the cost of a new stage before the stage itself, so that no stage lacks it."""
        if name not in self.done:
            self._pending.pop(name, None)  # its file was lost, and this process did it again
            json_lines.append(self._file, [_line(name, self._process_cost() - self._start_cost)])
        super().keep(name, stage)

    def _half(self, name: str) -> tuple[Stage, int]:
        """As `Journal._half`; adds the cost of the finished parts, which are work of the server alone."""
        stage, count = super()._half(name)
        server_cost = Cost((0.0,) * len(self.federation.seconds), stage.seconds)
        self._recalled_cost += server_cost
        self._start_cost -= server_cost
        return stage, count

    @property
    def _file(self) -> Path:
        assert self.folder is not None
        return self.folder / COSTS

    def _process_cost(self) -> Cost:
        """The cost of this process so far."""
        server = time.perf_counter() - self._begin - self.federation.wait_seconds
        return Cost(tuple(self.federation.seconds), server)


def _line(stage: str, cost: Cost) -> dict[str, Any]:
    """A line of the file: seconds of those clients alone that the stage cost something, since most cost one of many."""
    clients = {str(k): seconds for k, seconds in enumerate(cost.clients) if seconds}
    return {"stage": stage, "clients": clients, "server": cost.server}


def _read(path: Path, clients: int) -> dict[str, Cost]:
    """The costs by stage, of a stage that was done again the latest; a damaged line is missing."""
    costs = dict[str, Cost]()
    try:
        for line in json_lines.read_lines(path, MAX_COSTS):
            with suppress(KeyError, TypeError, ValueError, AttributeError, IndexError):
                seconds = [0.0] * clients
                for k, value in line["clients"].items():
                    seconds[int(k)] = float(value)
                costs[str(line["stage"])] = Cost(tuple(seconds), float(line["server"]))
    except UsageError:  # no file that can be read
        return {}
    return costs
