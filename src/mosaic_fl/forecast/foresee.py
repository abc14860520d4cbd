"""The forecast of each command in three steps: plan, measure, add up. The command line starts here."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.forecast.bench import Bench
from mosaic_fl.forecast.forecast import Forecast, forecast
from mosaic_fl.forecast.foreign import is_network
from mosaic_fl.forecast.measure import Request, measure
from mosaic_fl.forecast.plans import plan_contribution, plan_distillation, plan_run
from mosaic_fl.forecast.rough import budgets, rough_seconds
from mosaic_fl.forecast.work import Plan
from mosaic_fl.runs.file_exchange import Distillation
from mosaic_fl.runs.runner import RunSetup

LONG = 10.0  # seconds: a run that takes less, roughly, ends before a reader has read its forecast
SHARE = 0.05  # the largest share of a run's seconds that its forecast may take
MOST = 2.0  # the most seconds that the forecast of a run may take
CAREFUL = 4.0  # seconds of measurement for a dry run


def foresee_run(prepared: RunSetup, *, first: bool = False) -> Forecast | None:
    """The forecast of `mosaic run`.

    With `first` it is the first line of the run itself, and None where the run is too short for a forecast. Without it
    this is a dry run.
    """
    train = prepared.splits.train
    if not can_tell([site.architecture for site in prepared.sites], train.schema, first=first):
        return None
    experts = [site.architecture for site in prepared.sites]
    bench = Bench(prepared.config, train.schema, prepared.device, experts, train)
    return foresee(plan_run(prepared), bench, first=first)


def foresee_contribution(site: Site, config: Config, device: torch.device, *, first: bool = False) -> Forecast | None:
    """The forecast of `mosaic contribute`; see `foresee_run`."""
    if not can_tell([site.architecture], site.data.schema, first=first):
        return None
    bench = Bench(config, site.data.schema, device, [site.architecture], site.data)
    return foresee(plan_contribution(site, config, device), bench, first=first)


def foresee_distillation(prepared: Distillation, *, first: bool = False) -> Forecast | None:
    """The forecast of `mosaic distill`; see `foresee_run`."""
    if not can_tell([c.architecture for c in prepared.contributions], prepared.schema, first=first):
        return None
    contributions = prepared.contributions
    schema = prepared.schema
    names = [c.architecture for c in contributions]
    bench = Bench(prepared.config, schema, prepared.device, names, prepared.test, contributions)
    test = len(prepared.test) if prepared.test else 0
    plan = plan_distillation(contributions, prepared.config, schema, prepared.student, test)
    return foresee(plan, bench, first=first)


def can_tell(experts: Sequence[str], schema: Schema, *, first: bool) -> bool:
    """Whether there is a forecast: `one_field` holds, and not `too_soon`."""
    return one_field(schema, first=first) and not too_soon(experts, first=first)


def one_field(schema: Schema, *, first: bool) -> bool:
    """Whether samples have one field: the cost of several is unknown.

    Raises UsageError where the forecast is what the user wants, and not the `first` line of a run.
    """
    if schema.joins and not first:
        raise UsageError(
            f"nobody can tell beforehand what samples of several fields ({', '.join(schema.fields)}) take: leave out "
            "--dry-run and --minutes"
        )
    return not schema.joins


def too_soon(experts: Sequence[str], *, first: bool) -> bool:
    """Whether there is no `first` line of a run: fitting models that are no networks would hold the run up."""
    return first and not all(map(is_network, experts))


def foresee(plan: Plan, bench: Bench, *, first: bool) -> Forecast | None:
    """The forecast of the plan. As the `first` line of a run it takes at most `SHARE` of the run's time.

    Raises MosaicError where a measurement fails.
    """
    seconds = CAREFUL
    if first:
        rough = rough_seconds(plan, bench) / plan.workers
        if rough < LONG:
            return None
        seconds = min(MOST, SHARE * rough)
    unit_seconds = budgets(plan, bench, seconds)
    largest_counts = plan.largest_counts
    requests = {unit: Request(role, unit_seconds[unit], largest_counts[unit]) for unit, role in plan.units.items()}
    costs = measure(requests, plan.workers, bench)
    return forecast(plan, costs, bench.schema, resident_bytes())


def resident_bytes() -> int:
    """Bytes that this process holds now; 0 where the system does not report them."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
