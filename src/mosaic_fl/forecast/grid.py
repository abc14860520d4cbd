"""The forecast of a comparison: the sum of its cells, with shared work at clients counted once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mosaic_fl.comparison.grid import CENTRALISED, Cell, Setting
from mosaic_fl.comparison.plan import Plan as Grid
from mosaic_fl.engines.digests import digest
from mosaic_fl.engines.local import worker_count
from mosaic_fl.engines.shared import bare_settings, client_settings
from mosaic_fl.forecast.bench import Bench
from mosaic_fl.forecast.clients import share_of
from mosaic_fl.forecast.forecast import Forecast, StageForecast, forecast, makespan
from mosaic_fl.forecast.foresee import one_field, resident_bytes, too_soon
from mosaic_fl.forecast.measure import Cost, Request, measure
from mosaic_fl.forecast.methods import count
from mosaic_fl.forecast.plans import ceiling, early_ends
from mosaic_fl.forecast.rough import rough_seconds
from mosaic_fl.forecast.setup import Setup
from mosaic_fl.forecast.work import Job, Phase, Plan, Unit

# as in `foresee`, with more seconds for the many methods of a grid
SHARE = 0.05
MOST = 4.0
CAREFUL = 8.0
LONG = 10.0
CONTRIBUTION_STAGES = ("train", "generator")
RESULT = 2000  # bytes of a cell's file, and of its rows in the tables

JobKeys = set[tuple[int, str, Job]]
"""Clients' work whose answers a setting stores: (client, digest of its settings, job)."""


@dataclass(frozen=True)
class CellPlan:
    """A cell with its plan and the bench on which its work is measured."""

    cell: Cell
    plan: Plan
    bench: Bench


def foresee_grid(grid: Grid, jobs: int, *, first: bool = False) -> Forecast | None:
    """The forecast of `mosaic compare` with `jobs` settings at once; None for a short one's `first` line."""
    if not one_field(grid.schema, first=first):
        return None
    plans = cell_plans(grid)
    if too_soon([name for plan in plans for name in plan.bench.experts], first=first):
        return None
    rough = sum(rough_seconds(p.plan, p.bench) for p in plans)
    if first and rough < LONG:
        return None
    return added_up(grid, plans, unit_costs(plans, min(MOST, SHARE * rough) if first else CAREFUL), jobs)


def cell_plans(grid: Grid) -> list[CellPlan]:
    """The plans of all cells that can run, in order; clients' work that cells share is in the first one's."""
    return [plan for setting in grid.grid.settings() for plan in _setting(grid, setting)]


def added_up(grid: Grid, plans: Sequence[CellPlan], costs: Mapping[Unit, Cost], jobs: int) -> Forecast:
    """The forecast of these plans of the grid's cells, by the costs of their units, with `jobs` settings at once."""
    resident = resident_bytes()
    by_cell = {p.cell: forecast(p.plan, costs, p.bench.schema, resident) for p in plans}
    forecasts = list(by_cell.values())
    by_setting = {
        setting: [f for cell, f in by_cell.items() if cell.setting == setting] for setting in grid.grid.settings()
    }
    at_once = max(1, min(jobs, len(by_setting)))
    cell_memory = max((f.memory - resident for f in forecasts), default=0)
    # While a setting runs its disk holds the clients' answers for all cells, and one cell's stages.
    setting_disk = max((f.disk for f in forecasts), default=0)
    splits = {id(s): s for s in grid.splits.values()}.values()  # seeds may share one
    return Forecast(
        images=sum(len(split.train) + len(split.test) for split in splits),
        clients=sum(setting.clients for setting in by_setting),
        steps=sum(f.steps for f in forecasts),
        seconds=makespan([sum(f.seconds for f in group) for group in by_setting.values()], at_once),
        workers=at_once * max((p.plan.workers for p in plans), default=1),
        memory=resident + at_once * cell_memory,
        up=sum(f.up for f in forecasts),
        down=sum(f.down for f in forecasts),
        disk=at_once * setting_disk + RESULT * len(plans) + 100_000,
        stages=tuple(_of_method(method, by_cell) for method in dict.fromkeys(p.cell.method for p in plans)),
        at_most=next((f.at_most for f in forecasts if f.at_most), ()),
    )


def _setting(grid: Grid, setting: Setting) -> list[CellPlan]:
    """The plans of a setting's cells that can run, each without the clients' work of earlier cells."""
    cached = JobKeys()
    plans = list[CellPlan]()
    for cell in grid.cells(setting):
        if cell in grid.barred:
            continue
        config = grid.config(cell)
        sites = grid.sites(cell)
        splits = grid.splits[setting.seed]
        shares = [share_of(site, config) for site in sites]
        schema = splits.train.schema
        workers = worker_count(config.run.workers, len(sites), grid.device)
        largest = max(len(site.data) for site in sites)
        images = len(splits.train) + len(splits.test)
        bench = Bench(config, schema, grid.device, [site.architecture for site in sites], splits.train)
        if cell.method == CENTRALISED:
            phases = [Phase({0: ceiling(shares, config, grid.student)})]
            plan = Plan(images, len(sites), phases, workers, largest=largest)
        else:
            workload = count(Setup(shares, schema, config, grid.student, grid.device, len(splits.test)))
            client_values = client_settings(config)
            phases = [part for phase in workload.phases for part in _unshared(phase, client_values, cached)]
            plan = Plan(
                images, len(sites), phases, workers, (), round(workload.up), round(workload.down), workload.disk,
                workload.pools, largest, early_ends(config),
            )  # fmt: skip
        plans.append(CellPlan(cell, plan, bench))
    return plans


def _unshared(phase: Phase, settings: Mapping[str, object], cached: JobKeys) -> list[Phase]:
    """The phase without work whose answers `cached` has: contributions, and the local training of a first round.

    Adds the phase's own work to `cached`.
    """
    bare_digest = digest(bare_settings(settings))
    full_digest = digest(settings)
    stages = {job.stage for jobs in phase.clients.values() for job in jobs}
    if not stages or not stages <= {*CONTRIBUTION_STAGES, "rounds"}:
        return [phase]
    new_jobs = dict[int, Sequence[Job]]()
    for client, jobs in phase.clients.items():
        keys = [(client, bare_digest if job.stage == "train" else full_digest, job) for job in jobs]
        new_jobs[client] = [job for key, job in zip(keys, jobs, strict=True) if key not in cached]
        cached |= set(keys)
    first = replace(phase, clients=new_jobs, times=1)
    return [first, replace(phase, times=phase.times - 1)] if phase.times > 1 else [first]


def unit_costs(plans: Sequence[CellPlan], seconds: float) -> dict[Unit, Cost]:
    """The costs of all cells' units, measured for so many `seconds`, each with the settings of its first cell."""
    firsts = dict[Unit, tuple[str, CellPlan]]()
    largest_counts = dict[Unit, int]()
    for cell_plan in plans:
        for unit, role in cell_plan.plan.units.items():
            firsts.setdefault(unit, (role, cell_plan))
        for unit, images in cell_plan.plan.largest_counts.items():
            largest_counts[unit] = max(largest_counts.get(unit, 0), images)
    costs = dict[Unit, Cost]()
    unit_seconds = seconds / max(1, len(firsts))
    for cell_plan in plans:
        requests = {
            unit: Request(role, unit_seconds, largest_counts[unit])
            for unit, (role, owner) in firsts.items()
            if owner is cell_plan
        }
        if requests:
            costs |= measure(requests, cell_plan.plan.workers, cell_plan.bench)
    return costs


def _of_method(method: str, by_cell: Mapping[Cell, Forecast]) -> StageForecast:
    """The sum of a method's cells."""
    forecasts = [f for cell, f in by_cell.items() if cell.method == method]
    return StageForecast(method, sum(f.steps for f in forecasts), sum(f.seconds for f in forecasts))
