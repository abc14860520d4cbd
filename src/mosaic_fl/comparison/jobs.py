"""Several settings of a grid at once, each in a process of its own. They share only the data."""

import multiprocessing
import signal
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import torch

from mosaic_fl.comparison.cells import CellReport, CellResult, recall, run_setting
from mosaic_fl.comparison.grid import Cell, Setting
from mosaic_fl.comparison.plan import Plan
from mosaic_fl.engines.workers import die_with_parent
from mosaic_fl.errors import MosaicError
from mosaic_fl.models.own import admissions
from mosaic_fl.training.monitor import Listener, deaf

LOOK = 1.0  # seconds between two searches for the files of finished cells
_plan: Plan | None = None


def run_settings(
    plan: Plan, settings: Sequence[Setting], folder: Path, tell: CellReport, jobs: int, listen: Listener = deaf
) -> None:
    """As `run_setting` for each of the settings, `jobs` of them at once; `tell` is called in this process.

    `listen` receives the number of finished settings every second. Raises MosaicError where a process dies; the files
    of finished cells stay.
    """
    context = context_for(plan.device, plan.grid.base().run.threads)
    pool = ProcessPoolExecutor(jobs, context, _start, (plan, admissions()))
    open_cells = {cell for setting in settings for cell in plan.cells(setting) if recall(folder, cell) is None}
    try:
        pending = {pool.submit(_run, setting, folder) for setting in longest_first(plan, settings)}
        while pending:
            ready, pending = wait(pending, LOOK, FIRST_COMPLETED)
            listen("settings", -1, len(settings) - len(pending), len(settings))
            for cell in sorted(open_cells):
                if (result := recall(folder, cell)) is not None:
                    open_cells.discard(cell)
                    tell(cell, result)
            for future in ready:
                for cell, result in future.result():
                    if cell in open_cells:  # it failed, so it has no file
                        open_cells.discard(cell)
                        tell(cell, result)
    except BrokenProcessPool as error:
        raise MosaicError(
            "a process of the comparison died (out of memory?); what was finished is kept: go on with --resume, and "
            "fewer --jobs at once"
        ) from error
    finally:
        _end(pool)


def context_for(device: torch.device, threads: int) -> BaseContext:
    """How processes start that compute on `device` with `threads` threads: forked on Linux's CPU with one thread.

    Otherwise they are spawned.
    """
    # Forked processes share the pages of the data. But the search for an accelerator has started CUDA, which a forked
    # process cannot use. And the check of models has started OpenMP's threads: a forked process that needs threads of
    # its own would wait for them for ever.
    forked = sys.platform == "linux" and device.type == "cpu" and threads == 1
    return multiprocessing.get_context("fork" if forked else "spawn")


def longest_first(plan: Plan, settings: Sequence[Setting]) -> list[Setting]:
    """One seed after the other, settings with most cells first, so that no long setting starts late."""
    seeds = list(plan.grid.seeds)
    return sorted(settings, key=lambda setting: (seeds.index(setting.seed), -len(plan.cells(setting))))


def _start(plan: Any, factories: Any) -> None:
    global _plan
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends its processes
    threading.Thread(target=die_with_parent, daemon=True).start()
    admissions().update(factories)
    _plan = plan


def _run(setting: Setting, folder: Path) -> list[tuple[Cell, CellResult]]:
    assert _plan is not None
    results = list[tuple[Cell, CellResult]]()
    run_setting(_plan, setting, folder, lambda cell, result: results.append((cell, result)))
    return results


def _end(pool: ProcessPoolExecutor) -> None:
    """Kill all processes now; their own workers end with them."""
    processes = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.kill()
    for process in processes:
        process.join()
