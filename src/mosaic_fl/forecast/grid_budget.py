"""The share of all budgets with which a comparison fits a limit of time."""

from dataclasses import replace
from math import floor

from mosaic_fl.comparison.plan import Plan as Grid
from mosaic_fl.errors import UsageError
from mosaic_fl.forecast.budget import LEAST, PLANNED, planned
from mosaic_fl.forecast.forecast import duration, plural
from mosaic_fl.forecast.foresee import one_field
from mosaic_fl.forecast.grid import CAREFUL, added_up, cell_plans, unit_costs

NEAR = 1.01  # part of the limit that a forecast may reach: a tenth of the reserve in `PLANNED`
PARTS = 10_000  # a share is a whole number of such parts


def with_share(grid: Grid, share: float) -> Grid:
    """The same grid with this share of all budgets in every cell."""
    return replace(grid, grid=replace(grid.grid, share=share))


def share_within(grid: Grid, jobs: int, minutes: float) -> float:
    """The share, 0..1, of all budgets with which all cells take `minutes` at most, by the forecast.

    It is one share for all methods, so that their budgets stay in proportion. `grid` has the usual budgets, and `jobs`
    settings run at once. Raises UsageError where the limit is too short for any training.
    """
    one_field(grid.schema, first=False)
    plans = cell_plans(grid)
    costs = unit_costs(plans, CAREFUL)

    def seconds_of(share: float) -> float:
        cut = with_share(grid, share)
        return added_up(cut, cell_plans(cut), costs, jobs).seconds

    limit = planned(minutes)
    share = 1.0
    seconds = added_up(grid, plans, costs, jobs).seconds
    if seconds <= limit:
        return share
    least = seconds_of(LEAST)
    if least > limit:
        raise UsageError(
            f"--minutes {minutes:g} is too short: {plural(len(plans), 'cell')} take {duration(least / PLANNED)} "
            "at least with few steps: name fewer methods, settings or seeds"
        )
    while seconds > NEAR * limit:  # the straight line is exact but for whole steps, and pools that grow by the epoch
        share = LEAST + (share - LEAST) * (limit - least) / (seconds - least)
        seconds = seconds_of(share)
    return floor(PARTS * share) / PARTS
