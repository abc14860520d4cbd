"""A guess of costs from the sizes of networks alone: it decides whether to measure, and the first number of samples."""

from math import prod

from mosaic_fl.forecast.bench import Bench
from mosaic_fl.forecast.foreign import ANSWER, SECONDS, is_network
from mosaic_fl.forecast.probes import AT_ONCE
from mosaic_fl.forecast.sizes import generator_spec, parameters, spec_numbers
from mosaic_fl.forecast.work import Plan, Unit

FEW = 2  # the smallest number of samples in the first step
GLANCE = 0.1  # the longest first step, in seconds by the guess
RATE = 1e10  # multiplications a second, roughly; a weight is used about once for each pixel of an image's side
BACKWARD = 3  # forward passes that a step of training costs
LEAST_STEP = 1e-3  # seconds of a step at least
LEAST_IMAGE = 1e-5  # seconds of an image at least
SMALL: tuple[str, ...] = ("meta", "teachers", "fusion", "features", "density")
"""Kinds whose networks are small for any size of image."""
FITS = ("fit", "boost")
"""Kinds of work on models that are no networks."""


def first_batch(unit: Unit, bench: Bench, batch: int) -> int:
    """The number of samples in the first step: `batch`, or fewer where the network's size says it may be slow."""
    n = max(FEW, int(GLANCE / per_image(unit, bench)))
    return batch if 2 * n >= batch else n


def per_image(unit: Unit, bench: Bench) -> float:
    """The guess for one image of the unit, in seconds."""
    if unit.kind in SMALL:
        return LEAST_IMAGE
    if unit.kind in FITS:
        return SECONDS
    if unit.kind == "encode" or (unit.kind == "forward" and not is_network(unit.name)):
        return ANSWER
    passes = 1 if unit.kind in AT_ONCE else BACKWARD
    side = min(bench.schema.shape[1:], default=1)  # of an image; a row of a table has none
    return LEAST_IMAGE + passes * numbers(unit, bench) * side / RATE


def numbers(unit: Unit, bench: Bench) -> int:
    """The number of parameters in the unit's networks; for prior images, the number of values in an image."""
    settings = bench.config.generator
    schema = bench.schema
    if unit.kind in (*FITS, "encode") or (unit.kind == "forward" and not is_network(unit.name)):
        return 0
    if unit.kind in ("generator", "sample"):
        return spec_numbers(generator_spec(unit.name, settings, schema), schema)
    if unit.kind == "prior":
        return prod(schema.shape)
    return parameters(unit.name, schema) * int(dict(unit.changes).get("experts", 1))


def rough_seconds(plan: Plan, bench: Bench) -> float:
    """The guess for the plan on one worker, in seconds."""
    return sum(_rough(plan, bench).values())


def budgets(plan: Plan, bench: Bench, seconds: float) -> dict[Unit, float]:
    """Seconds to measure each unit: half of `seconds` in equal parts, half in proportion to the units' rough costs."""
    units = plan.units
    rough = _rough(plan, bench)
    total = sum(rough[unit] for unit in units) or 1.0
    return {unit: seconds / 2 * (1 / len(units) + rough[unit] / total) for unit in units}


def _rough(plan: Plan, bench: Bench) -> dict[Unit, float]:
    """The guess for all work of each unit, in seconds."""
    seconds = dict[Unit, float]()
    jobs = [(phase.times, job) for phase in plan.phases for job in phase.jobs]
    for times, job in jobs + [(1, job) for job in plan.background]:
        seconds[job.unit] = seconds.get(job.unit, 0.0) + times * job.count * _unit_seconds(job.unit, bench)
    return seconds


def _unit_seconds(unit: Unit, bench: Bench) -> float:
    """The guess for one unit, in seconds."""
    if unit.kind in ("fixed", "packing"):
        return 0.0
    if unit.kind in AT_ONCE:
        return per_image(unit, bench)
    return LEAST_STEP + unit.batch * per_image(unit, bench)
