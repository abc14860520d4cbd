"""A grid from its plan to its results: one setting after the other, or several at once."""

import shutil
from pathlib import Path

from mosaic_fl.comparison.cells import After, CellResult, recall, run_setting, shared_folder
from mosaic_fl.comparison.grid import Cell, Setting
from mosaic_fl.comparison.jobs import run_settings
from mosaic_fl.comparison.plan import Plan
from mosaic_fl.training.monitor import Listener, deaf


def run_grid(plan: Plan, folder: Path, after: After, jobs: int = 1, listen: Listener = deaf) -> dict[Cell, CellResult]:
    """Run what has no file in `folder`/cells yet; call `after(cell, all results so far)` after each cell that ran.

    A cell that fails is reported in its result and tried again when the grid is resumed; the others go on. `jobs`
    settings run at once, each in a process of its own; accuracies and bytes are the same for any number of them;
    seconds are a clock's. `listen` hears of the work as it goes on; of several jobs, how many settings are
    done. Raises MosaicError where such a process dies.
    """
    results = {cell: CellResult("cannot", reason) for cell, reason in plan.barred.items()}
    results |= {cell: kept for cell in plan.runnable if (kept := recall(folder, cell)) is not None}
    left = list[Setting]()
    for setting in plan.grid.settings():
        if set(plan.cells(setting)) - results.keys():
            left.append(setting)
        else:  # killed after its last cell, it has left what nobody will use
            shutil.rmtree(shared_folder(folder, setting), ignore_errors=True)

    def tell(cell: Cell, result: CellResult) -> None:
        results[cell] = result
        after(cell, results)

    if min(jobs, len(left)) > 1:
        run_settings(plan, left, folder, tell, min(jobs, len(left)), listen)
    else:
        for setting in left:
            run_setting(plan, setting, folder, tell, listen)
    return results
