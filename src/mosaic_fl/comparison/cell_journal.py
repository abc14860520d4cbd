"""The journal of a comparison's cell: its finished stages on disk and their costs, so that a killed cell resumes."""

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
        self._costs = _read(self._file)
        self._pending = dict(self._costs)  # of stages that this process has not recalled yet
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
            self._costs[name] = self._process_cost() - self._start_cost
            self._pending.pop(name, None)  # its file was lost, and this process did it again
            costs = {stage_name: asdict(cost) for stage_name, cost in self._costs.items()}
            write_atomic(self._file, json.dumps(costs))
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
        return self.folder / "costs.json"

    def _process_cost(self) -> Cost:
        """The cost of this process so far."""
        server = time.perf_counter() - self._begin - self.federation.wait_seconds
        return Cost(tuple(self.federation.seconds), server)


def _read(path: Path) -> dict[str, Cost]:
    """The costs by stage; empty where the file is missing or damaged."""
    try:
        costs = json.loads(read_bytes(path))
        return {name: Cost(tuple(cost["clients"]), cost["server"]) for name, cost in costs.items()}
    except (UsageError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}
