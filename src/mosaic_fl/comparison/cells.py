"""The runs of a grid's cells: one file a finished cell, and clients' work shared within a setting.

A cell that was killed resumes from its last finished stage.
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
from mosaic_fl.engines.attacked import attacked
from mosaic_fl.engines.local import LocalFederation
from mosaic_fl.engines.shared import SharedFederation
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.methods import METHODS
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.registries import name_generator
from mosaic_fl.runs.evaluation import figures
from mosaic_fl.runs.runner import simulation_result
from mosaic_fl.server.students import global_name
from mosaic_fl.storage.files import read_bytes, write_atomic
from mosaic_fl.storage.journal import Journal
from mosaic_fl.training.monitor import Listener, deaf


@dataclass(frozen=True)
class CellResult:
    """The result of a cell: figures where its status is "done", otherwise the `reason` in words.

    `accuracy` is a fraction of the test set. `bytes_up` and `bytes_down` are means over clients, None where nothing
    travels. `client_seconds` is the mean work of a client, shared answers included. `server_seconds` is the method's
    own time, without waiting for clients. `seconds` is the time on the clock, which shared answers shorten; for a
    resumed cell it is the time since the resume. `quality` has the figures of `runs.quality` where samples are rows.
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
    quality: Mapping[str, float | None] | None = None


Results = Mapping[Cell, CellResult]
CellHook = Callable[[Cell, Results], None]
"""(cell, all results so far): called after each cell that ran."""
CellReport = Callable[[Cell, CellResult], None]
"""(cell, its result): called after each cell that ran."""


def run_setting(plan: Plan, setting: Setting, folder: Path, tell: CellReport, listen: Listener = deaf) -> None:
    """Run the cells of a setting that have no file yet, with shared work at clients; call `tell` after each."""
    torch.set_num_threads(plan.grid.base().run.threads)
    shared = shared_folder(folder, setting)
    complete = True
    for cell in plan.cells(setting):
        if recall(folder, cell) is not None:
            continue
        half = shared / "half" / f"{cell.method}_rounds-{cell.rounds}"
        result = _result_of(plan, cell, shared, half, listen)
        if result.status == "done":
            write_atomic(_path(folder, cell), json.dumps(asdict(result), indent=2) + "\n")
            shutil.rmtree(half, ignore_errors=True)
        complete &= result.status == "done"
        tell(cell, result)
    if complete:  # no other setting can use these answers
        shutil.rmtree(shared, ignore_errors=True)


def run_cell(plan: Plan, cell: Cell, shared: Path, half: Path, listen: Listener = deaf) -> CellResult:
    """Run one cell; raises what its method raises.

    It reads and writes its clients' answers in the folder `shared`, and its finished stages in `half`, from which it
    resumes after a kill.
    """
    begin = time.perf_counter()
    config = plan.config(cell)
    name_generator(config.generator.family)  # with several jobs this process has not registered the family yet
    sites, attackers = plan.clients(cell)
    with LocalFederation(sites, config, plan.device, Journal(None, listen)) as engine:
        if cell.method == CENTRALISED:
            outcome, server = _centralised(plan, engine)
            clients = None
        else:
            federation = SharedFederation(engine, shared)
            journal = CellJournal(half, federation, listen)
            outcome = METHODS[cell.method].run(attacked(federation, attackers), config, plan.device, journal)
            cost = journal.cost
            clients = fmean(cost.clients)
            server = cost.server
        evaluation = figures(outcome, plan.splits[cell.setting.seed].test, None, [], plan.device, intervals=False)
    result = simulation_result(config, sites, outcome, evaluation, {})
    return CellResult(
        "done",
        accuracy=result.accuracy,
        models_served=result.models_served,
        bytes_up=_mean(result.bytes_up),
        bytes_down=_mean(result.bytes_down),
        client_seconds=clients,
        server_seconds=server,
        seconds=time.perf_counter() - begin,
        quality=evaluation.get("quality", {}).get("served"),
    )


def remaining_seconds(cells: Sequence[Cell], results: Results) -> float | None:
    """A guess of the time that these open cells will take; None where no cell is done yet.

    The guess for a cell is the mean over finished cells of its method and rounds, else of its method, else of all.
    """
    durations = [(cell, result.seconds) for cell, result in results.items() if result.status == "done"]
    if not durations:
        return None

    def guess(cell: Cell) -> float:
        of_method = [s for other, s in durations if other.method == cell.method]
        of_rounds = [s for other, s in durations if (other.method, other.rounds) == (cell.method, cell.rounds)]
        return fmean(of_rounds or of_method or [s for _, s in durations])

    return sum(map(guess, cells))


def _result_of(plan: Plan, cell: Cell, shared: Path, half: Path, listen: Listener) -> CellResult:
    """As `run_cell`, but an error becomes a result of status "failed"."""
    begin = time.perf_counter()
    try:
        return run_cell(plan, cell, shared, half, listen)
    except Exception as error:  # one method's error must not lose the hours of the others
        has_own_words = isinstance(error, MosaicError | RuntimeError)
        reason = " ".join(str(error if has_own_words else f"{type(error).__name__}: {error}").split())
        return CellResult("failed", reason or type(error).__name__, seconds=time.perf_counter() - begin)


def _mean(values: Sequence[int]) -> float | None:
    return fmean(values) if values else None


def _centralised(plan: Plan, engine: LocalFederation) -> tuple[Outcome, float]:
    """(the student trained on the pooled data, seconds).

    It trains for as many steps as distillation has, or as a client's training has if these are more.
    """
    start = time.perf_counter()
    engine.plan_ceiling(plan.student, engine.config.distill.steps)
    model = GlobalModel(global_name(plan.student), engine.schema, engine.ceiling())
    return Outcome(model, [], []), time.perf_counter() - start


def shared_folder(folder: Path, setting: Setting) -> Path:
    """The folder of the clients' answers that all cells of a setting share."""
    return folder / "shared" / setting.name


def _path(folder: Path, cell: Cell) -> Path:
    return folder / "cells" / f"{cell.name}.json"


def recall(folder: Path, cell: Cell) -> CellResult | None:
    """The finished cell's result; None where its file is missing or damaged."""
    try:
        result = CellResult(**json.loads(read_bytes(_path(folder, cell))))
    except (UsageError, ValueError, TypeError, RecursionError):
        return None
    return result if result.status == "done" and isinstance(result.accuracy, float) else None
