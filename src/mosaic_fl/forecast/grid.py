"""The forecast of a comparison: its cells one after the other, what they share counted once."""

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
from mosaic_fl.forecast.foresee import networks_alone, resident_bytes
from mosaic_fl.forecast.measure import Asked, Cost, measure
from mosaic_fl.forecast.methods import Federated, count
from mosaic_fl.forecast.plans import ceiling, unknown
from mosaic_fl.forecast.rough import rough_seconds
from mosaic_fl.forecast.work import Job, Phase, Plan, Unit

# as of a run's forecast, for the many methods of a grid
SHARE = 0.05
MOST = 4.0
CAREFUL = 8.0
LONG = 10.0
OF_A_CONTRIBUTION = ("train", "generator")
RESULT = 2000  # bytes of a cell's file, and of its rows in the tables

Seen = set[tuple[int, str, Job]]
"""Clients' work that a setting has kept: (client, digest of its settings, job)."""


@dataclass(frozen=True)
class Foreseen:
    """A cell with its plan and what its work is measured on."""

    cell: Cell
    plan: Plan
    bench: Bench


def foresee_grid(grid: Grid, jobs: int, *, first: bool = False) -> Forecast | None:
    """What `mosaic compare` will take with so many settings at once; None for a short one's `first` line."""
    cells = [cell for setting in grid.grid.settings() for cell in _setting(grid, setting)]
    if not networks_alone([name for each in cells for name in each.bench.experts], first=first):
        return None
    rough = sum(rough_seconds(each.plan, each.bench) for each in cells)
    if first and rough < LONG:
        return None
    costs = _measured(cells, min(MOST, SHARE * rough) if first else CAREFUL)
    resident = resident_bytes()
    each = {c.cell: forecast(c.plan, costs, c.bench.schema, resident) for c in cells}
    settings = {setting: [each[c.cell] for c in cells if c.cell.setting == setting] for setting in grid.grid.settings()}
    at_once = max(1, min(jobs, len(settings)))
    seconds = makespan([sum(f.seconds for f in forecasts) for forecasts in settings.values()], at_once)
    taken = max((f.memory - resident for f in each.values()), default=0)
    stages = tuple(_of_method(method, each) for method in dict.fromkeys(c.cell.method for c in cells))
    kept = max((_kept(forecasts) for forecasts in settings.values()), default=0)
    return Forecast(
        images=sum(len(data.train) + len(data.test) for data in {id(s): s for s in grid.splits.values()}.values()),
        clients=sum(setting.clients for setting in settings),
        steps=sum(f.steps for f in each.values()),
        seconds=seconds,
        workers=at_once * max((c.plan.workers for c in cells), default=1),
        memory=resident + at_once * taken,
        up=sum(f.up for f in each.values()),
        down=sum(f.down for f in each.values()),
        disk=at_once * kept + RESULT * len(cells) + 100_000,
        stages=stages,
        at_most=next((f.at_most for f in each.values() if f.at_most), ()),
    )


def _setting(grid: Grid, setting: Setting) -> list[Foreseen]:
    """The cells of a setting that can run, each with what no earlier one has done for it."""
    seen = Seen()
    foreseen = list[Foreseen]()
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
            counted = count(Federated(shares, schema, config, grid.student, grid.device, len(splits.test)))
            settings = client_settings(config)
            phases = [part for phase in counted.phases for part in _unshared(phase, settings, seen)]
            plan = Plan(
                images, len(sites), phases, workers, (), round(counted.up), round(counted.down), counted.disk,
                counted.pools, largest, unknown(config),
            )  # fmt: skip
        foreseen.append(Foreseen(cell, plan, bench))
    return foreseen


def _unshared(phase: Phase, settings: Mapping[str, object], seen: Seen) -> list[Phase]:
    """The phase without what is kept of earlier cells: contributions, and the fits of a first round."""
    bare = digest(bare_settings(settings))
    whole = digest(settings)
    stages = {job.stage for jobs in phase.clients.values() for job in jobs}
    if not stages <= {*OF_A_CONTRIBUTION, "rounds"} or not stages:
        return [phase]
    left = dict[int, Sequence[Job]]()
    for client, jobs in phase.clients.items():
        keys = [(client, bare if job.stage == "train" else whole, job) for job in jobs]
        left[client] = [job for key, job in zip(keys, jobs, strict=True) if key not in seen]
        seen |= set(keys)
    once = replace(phase, clients=left, times=1)
    return [once, replace(phase, times=phase.times - 1)] if phase.times > 1 else [once]


def _measured(cells: Sequence[Foreseen], seconds: float) -> dict[Unit, Cost]:
    """The costs of all cells' units, each measured with the settings of the first cell that has it."""
    firsts = dict[Unit, tuple[str, Foreseen]]()
    most = dict[Unit, int]()
    for each in cells:
        for unit, who in each.plan.units.items():
            firsts.setdefault(unit, (who, each))
        for unit, images in each.plan.most.items():
            most[unit] = max(most.get(unit, 0), images)
    costs = dict[Unit, Cost]()
    spend = seconds / max(1, len(firsts))
    for each in cells:
        ours = {unit: Asked(who, spend, most[unit]) for unit, (who, of) in firsts.items() if of is each}
        if ours:
            costs |= measure(ours, each.plan.workers, each.bench)
    return costs


def _of_method(method: str, each: Mapping[Cell, Forecast]) -> StageForecast:
    mine = [f for cell, f in each.items() if cell.method == method]
    return StageForecast(method, sum(f.steps for f in mine), sum(f.seconds for f in mine))


def _kept(forecasts: Sequence[Forecast]) -> int:
    """Bytes on disk while a setting runs: the clients' answers for all cells, and one cell's stages."""
    return max((f.disk for f in forecasts), default=0)
