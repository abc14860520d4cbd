"""A guess of what work takes from the sizes of its networks alone: how to begin to measure it, and whether at all."""

from math import prod

from mosaic_fl.forecast.bench import Bench
from mosaic_fl.forecast.probes import AT_ONCE
from mosaic_fl.forecast.sizes import generator_spec, parameters, spec_numbers
from mosaic_fl.forecast.work import Plan, Unit

FEW = 2  # samples at once with which a step that may be slow is tried first
GLANCE = 0.1  # seconds of a step that is begun with
RATE = 1e10  # multiplications a second, roughly; a weight is used about once for each pixel of an image's side
BACKWARD = 3  # passes that a step of training costs
# seconds
LEAST_STEP = 1e-3
LEAST_IMAGE = 1e-5
SMALL: tuple[str, ...] = ("meta", "teachers", "fusion", "features", "density")
"""Kinds whose networks are small whatever the images are."""


def first(unit: Unit, bench: Bench, batch: int) -> int:
    """How many samples at once to begin with: all, unless the network's size says that it may be slow."""
    n = max(FEW, int(GLANCE / per_image(unit, bench)))
    return batch if 2 * n >= batch else n


def per_image(unit: Unit, bench: Bench) -> float:
    """Seconds of one image of the unit, roughly."""
    if unit.kind in SMALL:
        return LEAST_IMAGE
    passes = 1 if unit.kind in AT_ONCE else BACKWARD
    side = min(bench.schema.shape[1:])
    return LEAST_IMAGE + passes * numbers(unit, bench) * side / RATE


def numbers(unit: Unit, bench: Bench) -> int:
    """Numbers in the unit's networks; of a picture in the kind that has none."""
    settings = bench.config.generator
    schema = bench.schema
    if unit.kind in ("generator", "sample"):
        return spec_numbers(generator_spec(unit.name, settings, schema), schema)
    if unit.kind == "prior":
        return prod(schema.shape)
    return parameters(unit.name, schema) * int(dict(unit.changes).get("experts", 1))


def rough_seconds(plan: Plan, bench: Bench) -> float:
    """Seconds that the plan takes on one worker, roughly."""
    return sum(_rough(plan, bench).values())


def budgets(plan: Plan, bench: Bench, seconds: float) -> dict[Unit, float]:
    """How long to measure each of the plan's units: half of `seconds` for all alike, half by what they cost in all."""
    units = plan.units
    rough = _rough(plan, bench)
    total = sum(rough[unit] for unit in units) or 1.0
    return {unit: seconds / 2 * (1 / len(units) + rough[unit] / total) for unit in units}


def _rough(plan: Plan, bench: Bench) -> dict[Unit, float]:
    seconds = dict[Unit, float]()
    for times, job in [(p.times, job) for p in plan.phases for job in p.jobs] + [(1, job) for job in plan.behind]:
        seconds[job.unit] = seconds.get(job.unit, 0.0) + times * job.count * _one(job.unit, bench)
    return seconds


def _one(unit: Unit, bench: Bench) -> float:
    if unit.kind in ("fixed", "packing"):
        return 0.0
    steps = unit.kind not in AT_ONCE
    return LEAST_STEP + unit.batch * per_image(unit, bench) if steps else per_image(unit, bench)
