"""Forecasts of the commands: plan, measure, add up."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config
from mosaic_fl.errors import UsageError
from mosaic_fl.experts.kind import no_outline
from mosaic_fl.experts.naming import kind_of
from mosaic_fl.forecast.bench import Bench
from mosaic_fl.forecast.forecast import Forecast, forecast
from mosaic_fl.forecast.measure import Asked, measure
from mosaic_fl.forecast.plans import plan_contribution, plan_distillation, plan_run
from mosaic_fl.forecast.rough import budgets, rough_seconds
from mosaic_fl.forecast.work import Plan
from mosaic_fl.runs.file_exchange import Distillation
from mosaic_fl.runs.runner import RunSetup

LONG = 10.0  # seconds, roughly, below which a run is done before its forecast would be read
# of a long run's seconds, and seconds at most, that its forecast may take
SHARE = 0.05
MOST = 2.0
CAREFUL = 4.0  # seconds of measurement where nothing follows


def foresee_run(prepared: RunSetup, *, first: bool = False) -> Forecast | None:
    """What `mosaic run` will take; None where it is the `first` line of a run too short to need one."""
    if not networks_alone([site.architecture for site in prepared.sites], first=first):
        return None
    train = prepared.splits.train
    experts = [site.architecture for site in prepared.sites]
    bench = Bench(prepared.config, train.schema, prepared.device, experts, train)
    return foresee(plan_run(prepared), bench, first=first)


def foresee_contribution(site: Site, config: Config, device: torch.device, *, first: bool = False) -> Forecast | None:
    """What `mosaic contribute` will take; see `foresee_run`."""
    if not networks_alone([site.architecture], first=first):
        return None
    bench = Bench(config, site.data.schema, device, [site.architecture], site.data)
    return foresee(plan_contribution(site, config, device), bench, first=first)


def foresee_distillation(prepared: Distillation, *, first: bool = False) -> Forecast | None:
    """What `mosaic distill` will take; see `foresee_run`."""
    if not networks_alone([c.architecture for c in prepared.contributions], first=first):
        return None
    contributions = prepared.contributions
    schema = prepared.schema
    bench = Bench(prepared.config, schema, prepared.device, [c.architecture for c in contributions], prepared.test)
    test = len(prepared.test) if prepared.test else 0
    plan = plan_distillation(contributions, prepared.config, schema, prepared.student, test)
    return foresee(plan, bench, first=first)


def networks_alone(experts: Sequence[str], *, first: bool) -> bool:
    """Whether all experts are networks, whose cost is counted; raises UsageError where a user asks to know it first."""
    strange = [name for name in experts if kind_of(name).outline is no_outline]
    if strange and not first:
        raise UsageError(f"--dry-run cannot tell what model {strange[0]!r} takes: it is no network; run it without")
    return not strange


def foresee(plan: Plan, bench: Bench, *, first: bool) -> Forecast | None:
    """The forecast of the plan; of a run that follows, at most a twentieth of its time is spent on it.

    Raises MosaicError where a measurement fails.
    """
    seconds = CAREFUL
    if first:
        rough = rough_seconds(plan, bench) / plan.workers
        if rough < LONG:
            return None
        seconds = min(MOST, SHARE * rough)
    spend = budgets(plan, bench, seconds)
    most = plan.most
    asked = {unit: Asked(who, spend[unit], most[unit]) for unit, who in plan.units.items()}
    costs = measure(asked, plan.workers, bench)
    return forecast(plan, costs, bench.schema, resident_bytes())


def resident_bytes() -> int:
    """Bytes that this process holds now; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
