"""The forecast of a command as a value: what it will take, in one line and as a table."""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from mosaic_fl.domains.schema import Schema
from mosaic_fl.forecast.measure import Cost
from mosaic_fl.forecast.work import Job, Phase, Plan, Unit

PER_BYTE = 5e-9  # seconds to pack, hash, write or read a byte
IDLE = 0.5  # share of its memory that a worker keeps when it is done
TOUCHED = 25 * 2**20  # bytes of the parent's memory that a worker changes, and so has for itself
TOOLS = 60 * 2**20  # bytes of what is imported on the way: clustering, pictures


@dataclass(frozen=True)
class StageForecast:
    """One stage: its steps of training, and seconds on the clock."""

    name: str
    steps: int
    seconds: float


@dataclass(frozen=True)
class Forecast:
    """What a command will take.

    `seconds` on the clock, `memory` bytes of all its processes at most, `up` and `down` bytes of all clients together,
    `disk` bytes at most while it runs. `at_most` says why it may be less, empty where nothing is open.
    """

    images: int
    clients: int
    steps: int
    seconds: float
    workers: int
    memory: int
    up: int
    down: int
    disk: int
    stages: tuple[StageForecast, ...]
    at_most: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """All of it in one line."""
        work = f"{self.images:,} images, {counted(self.clients, 'client')}, {counted(self.steps, 'step')}"
        clock = f"{'at most ' if self.at_most else ''}about {duration(self.seconds)}"
        moved = ", ".join(f"{size(n)} {way}" for n, way in ((self.up, "up"), (self.down, "down")) if n)
        moved = f"{moved}, " if moved else ""
        where = counted(self.workers, "worker")
        return f"forecast: {work}; {clock} on {where}, {size(self.memory)} of memory, {moved}{size(self.disk)} on disk"

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def forecast(plan: Plan, costs: Mapping[Unit, Cost], schema: Schema, resident: int) -> Forecast:
    """The plan at these costs, for a process that holds `resident` bytes now."""
    stages = dict[str, float]()
    clock = 0.0
    for phase in plan.phases:
        clock += phase.times * makespan([_seconds(jobs, costs) for jobs in phase.clients.values()], plan.workers)
        clock += phase.times * _seconds(phase.server, costs)
        for job in phase.jobs:
            share = 1 if job in phase.server else min(plan.workers, len(phase.clients))
            stages[job.stage] = stages.get(job.stage, 0) + phase.times * _seconds([job], costs) / share
    clock = _beside(clock, plan, costs)
    if plan.behind:
        stages["centralised"] = _seconds(plan.behind, costs)
    steps = plan.steps_by_stage()
    rows = tuple(StageForecast(name, steps.get(name, 0), seconds) for name, seconds in stages.items())
    return Forecast(
        images=plan.images,
        clients=plan.clients,
        steps=plan.steps,
        seconds=clock,
        workers=plan.workers,
        memory=_memory(plan, costs, resident, plan.largest * prod(schema.shape)),
        up=plan.up,
        down=plan.down,
        disk=plan.disk,
        stages=rows,
        at_most=tuple(plan.unknown),
    )


def makespan(seconds: Sequence[float], workers: int) -> float:
    """The time until all tasks are done that `workers` take one after the other, in this order."""
    free = [0.0] * max(1, workers)
    for each in seconds:
        heapq.heappush(free, heapq.heappop(free) + each)
    return max(free)


def _beside(clock: float, plan: Plan, costs: Mapping[Unit, Cost]) -> float:
    """The clock with what one worker does while the server works: from the end of the clients' first phase on."""
    behind = _seconds(plan.behind, costs)
    if not behind:
        return clock
    if plan.workers == 1:
        return clock + behind
    first = next((p for p in plan.phases if p.clients), Phase())
    start = makespan([_seconds(jobs, costs) for jobs in first.clients.values()], plan.workers)
    return max(clock, start + behind)


def _seconds(jobs: Sequence[Job], costs: Mapping[Unit, Cost]) -> float:
    return sum(job.count * _each(job.unit, costs) for job in jobs)


def _each(unit: Unit, costs: Mapping[Unit, Cost]) -> float:
    if unit.kind == "fixed":
        return 1.0
    return PER_BYTE if unit.kind == "packing" else costs[unit].seconds


def _memory(plan: Plan, costs: Mapping[Unit, Cost], resident: int, data: int) -> int:
    """The most bytes of all processes: while the clients work, or while the server does and the workers wait."""
    each = dict[int, int]()
    server = 0
    alone = plan.workers == 1
    for phase in plan.phases:
        server = max(server, _largest(phase.server, costs))
        for client, jobs in phase.clients.items():
            each[client] = max(each.get(client, 0), _largest(jobs, costs))
    ceiling = [_largest(plan.behind, costs)] if plan.behind else []
    at_once = sorted([*each.values(), *ceiling])[-plan.workers :]  # the most greedy of them side by side
    working = sum(at_once) + len(at_once) * (data + (0 if alone else TOUCHED))
    waiting = (0 if alone else round(IDLE * working)) + server + plan.pools
    return resident + TOOLS + max(working, waiting)


def _largest(jobs: Sequence[Job], costs: Mapping[Unit, Cost]) -> int:
    return max((costs[job.unit].memory for job in jobs if job.unit in costs), default=0)


def counted(n: int, noun: str) -> str:
    """1 step, 2 steps."""
    return f"{n:,} {noun}{'s' * (n != 1)}"


def duration(seconds: float) -> str:
    """Seconds as a person says them: 40 s, 3 min, 2.5 h."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def size(count: float) -> str:
    """Bytes as a person says them, in powers of 1000: 12 kB, 3.4 MB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 9.95 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
