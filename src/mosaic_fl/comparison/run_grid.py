"""The run of a planned grid: one setting after the other, or several at once."""

import shutil
from pathlib import Path

from mosaic_fl.comparison.cells import CellHook, CellResult, recall, run_setting, shared_folder
from mosaic_fl.comparison.grid import Cell, Setting
from mosaic_fl.comparison.jobs import run_settings
from mosaic_fl.comparison.plan import Plan
from mosaic_fl.training.monitor import Listener, deaf


def run_grid(
    plan: Plan, folder: Path, after: CellHook, jobs: int = 1, listen: Listener = deaf
) -> dict[Cell, CellResult]:
    """Run the cells without a file in `folder`/cells; call `after(cell, all results so far)` after each.

    A cell that fails has its error in its result, and runs again when the grid is resumed; the others go on. `jobs`
    settings run at once, each in a process of its own. Accuracies and bytes do not depend on `jobs`; seconds do.
    `listen` receives the progress of the work; with several jobs, the number of finished settings. Raises MosaicError
    where such a process dies.
    """
    results = {cell: CellResult("cannot", reason) for cell, reason in plan.barred.items()}
    results |= {cell: result for cell in plan.runnable if (result := recall(folder, cell)) is not None}
    open_settings = list[Setting]()
    for setting in plan.grid.settings():
        if set(plan.cells(setting)) - results.keys():
            open_settings.append(setting)
        else:  # a process that was killed after the setting's last cell left these answers
            shutil.rmtree(shared_folder(folder, setting), ignore_errors=True)

    def tell(cell: Cell, result: CellResult) -> None:
        results[cell] = result
        after(cell, results)

    if min(jobs, len(open_settings)) > 1:
        run_settings(plan, open_settings, folder, tell, min(jobs, len(open_settings)), listen)
    else:
        for setting in open_settings:
            run_setting(plan, setting, folder, tell, listen)
    return results
