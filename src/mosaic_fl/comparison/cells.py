"""The cells of a grid: each run alike, each finished one a file, the work at clients shared within a setting.

A cell that is killed goes on where it was.
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Literal

import torch

from mosaic_fl.comparison.cell_journal import CellJournal
from mosaic_fl.comparison.grid import CENTRALISED, Cell, Setting
from mosaic_fl.comparison.plan import Plan
from mosaic_fl.engines.local import LocalFederation
from mosaic_fl.engines.shared import SharedFederation
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.methods import METHODS
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.registries import name_generator
from mosaic_fl.runs.evaluation import figures
from mosaic_fl.runs.runner import simulation_result
from mosaic_fl.storage.files import read_bytes, write_atomic
from mosaic_fl.storage.journal import Journal
from mosaic_fl.training.monitor import Listener, deaf


@dataclass(frozen=True)
class CellResult:
    """What became of a cell: figures where it is `done`, and else the `reason` in words.

    `accuracy` is a fraction of the test set, `bytes_up` and `bytes_down` are means a client and None where nothing
    travels, `client_seconds` is the mean of the clients' work (that of shared answers included), `server_seconds` the
    method's own time, without waiting for clients. `seconds` is how long the cell kept us, which sharing makes shorter;
    of a cell that was killed and resumed that is the time since.
    """

    status: Literal["done", "failed", "cannot"]
    reason: str = ""
    accuracy: float | None = None
    models_served: int = 0
    bytes_up: float | None = None
    bytes_down: float | None = None
    client_seconds: float | None = None
    server_seconds: float | None = None
    seconds: float = 0.0


Results = Mapping[Cell, CellResult]
After = Callable[[Cell, Results], None]
Tell = Callable[[Cell, CellResult], None]


def run_setting(plan: Plan, setting: Setting, folder: Path, tell: Tell, listen: Listener = deaf) -> None:
    """Run the cells of a setting that have no file yet, with the work at clients shared; tell of each that ran."""
    torch.set_num_threads(plan.grid.base().run.threads)
    shared = shared_folder(folder, setting)
    complete = True
    for cell in plan.cells(setting):
        if recall(folder, cell) is not None:
            continue
        half = shared / "half" / f"{cell.method}_rounds-{cell.rounds}"
        result = _attempt(plan, cell, shared, half, listen)
        if result.status == "done":
            write_atomic(_path(folder, cell), json.dumps(asdict(result), indent=2) + "\n")
            shutil.rmtree(half, ignore_errors=True)
        complete &= result.status == "done"
        tell(cell, result)
    if complete:  # no other setting can use it
        shutil.rmtree(shared, ignore_errors=True)


def run_cell(plan: Plan, cell: Cell, shared: Path, half: Path, listen: Listener = deaf) -> CellResult:
    """Run one cell, which finds and leaves its clients' answers in `shared`; raises what the method raises.

    Its finished stages are in `half`, where it finds them if it was killed.
    """
    begin = time.perf_counter()
    config = plan.config(cell)
    name_generator(config.generator.family)  # of several jobs, each is a process of its own
    sites = plan.sites(cell)
    with LocalFederation(sites, config, plan.device, Journal(None, listen)) as engine:
        if cell.method == CENTRALISED:
            outcome, server = _centralised(plan, engine)
            clients = None
        else:
            federation = SharedFederation(engine, shared)
            journal = CellJournal(half, federation, listen)
            outcome = METHODS[cell.method].run(federation, config, plan.device, journal)
            cost = journal.cost
            clients = fmean(cost.clients)
            server = cost.server
        measured = figures(outcome, plan.splits[cell.setting.seed].test, None, [], plan.device)
    result = simulation_result(config, sites, outcome, measured, {})
    return CellResult(
        "done",
        accuracy=result.accuracy,
        models_served=result.models_served,
        bytes_up=_mean(result.bytes_up),
        bytes_down=_mean(result.bytes_down),
        client_seconds=clients,
        server_seconds=server,
        seconds=time.perf_counter() - begin,
    )


def seconds_left(left: Sequence[Cell], results: Results) -> float | None:
    """A guess of how long the cells that are `left` will take; None before any cell is done.

    A cell takes as long as the cells of its method and rounds did on average, or of its method, or of all.
    """
    done = [(cell, result.seconds) for cell, result in results.items() if result.status == "done"]
    if not done:
        return None

    def guess(cell: Cell) -> float:
        same = [s for other, s in done if other.method == cell.method]
        alike = [s for other, s in done if (other.method, other.rounds) == (cell.method, cell.rounds)]
        return fmean(alike or same or [s for _, s in done])

    return sum(map(guess, left))


def _attempt(plan: Plan, cell: Cell, shared: Path, half: Path, listen: Listener) -> CellResult:
    begin = time.perf_counter()
    try:
        return run_cell(plan, cell, shared, half, listen)
    except Exception as error:  # whatever one method does, the hours that the others took are not lost
        known = isinstance(error, MosaicError | RuntimeError)
        reason = " ".join(str(error if known else f"{type(error).__name__}: {error}").split())
        return CellResult("failed", reason or type(error).__name__, seconds=time.perf_counter() - begin)


def _mean(values: Sequence[int]) -> float | None:
    return fmean(values) if values else None


def _centralised(plan: Plan, engine: LocalFederation) -> tuple[Outcome, float]:
    """(the pooled data's student, seconds), for as many steps as a distilled one, or a client's training if more."""
    start = time.perf_counter()
    engine.plan_ceiling(plan.student, engine.config.distill.steps)
    model = GlobalModel(plan.student, engine.schema, engine.ceiling())
    return Outcome(model, [], []), time.perf_counter() - start


def shared_folder(folder: Path, setting: Setting) -> Path:
    return folder / "shared" / setting.name


def _path(folder: Path, cell: Cell) -> Path:
    return folder / "cells" / f"{cell.name}.json"


def recall(folder: Path, cell: Cell) -> CellResult | None:
    """The finished cell's result; None where its file is not there, or damaged."""
    try:
        result = CellResult(**json.loads(read_bytes(_path(folder, cell))))
    except (UsageError, ValueError, TypeError, RecursionError):
        return None
    return result if result.status == "done" and isinstance(result.accuracy, float) else None
