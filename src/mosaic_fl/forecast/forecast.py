"""The forecast of a command as a value, and how it is added up from a plan and measured costs."""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from mosaic_fl.domains.schema import Schema
from mosaic_fl.forecast.measure import Cost
from mosaic_fl.forecast.work import Job, Phase, Plan, Unit

PER_BYTE = 5e-9  # seconds to pack, hash, write or read a byte
IDLE = 0.5  # share of its memory that a worker holds after its work
TOUCHED = 25 * 2**20  # bytes of the parent's memory that a worker changes, and so holds itself
TOOLS = 60 * 2**20  # bytes of packages that a run imports later: clustering, pictures


@dataclass(frozen=True)
class StageForecast:
    """One stage: its steps of training, and its seconds on the clock."""

    name: str
    steps: int
    seconds: float


@dataclass(frozen=True)
class Forecast:
    """The forecast of a command.

    `seconds` on the clock, `memory` bytes of all its processes at most, `up` and `down` bytes of all clients together,
    `disk` bytes at most while it runs. `at_most` are the reasons in words why it may take less; empty where all is
    certain. `not_counted` is what it does not include.
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
    not_counted: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """The forecast in one line."""
        work = f"{self.images:,} images, {plural(self.clients, 'client')}, {plural(self.steps, 'step')}"
        clock = f"{'at most ' if self.at_most else ''}about {duration(self.seconds)}"
        traffic = ", ".join(f"{size(n)} {way}" for n, way in ((self.up, "up"), (self.down, "down")) if n)
        traffic = f"{traffic}, " if traffic else ""
        workers = plural(self.workers, "worker")
        return (
            f"forecast: {work}; {clock} on {workers}, {size(self.memory)} of memory, {traffic}{size(self.disk)} on disk"
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def forecast(plan: Plan, costs: Mapping[Unit, Cost], schema: Schema, resident: int) -> Forecast:
    """The forecast of the plan with these costs, for a process that holds `resident` bytes now."""
    stages = dict[str, float]()
    clock = 0.0
    for phase in plan.phases:
        clock += phase.times * makespan([_seconds(jobs, costs) for jobs in phase.clients.values()], plan.workers)
        clock += phase.times * _seconds(phase.server, costs)
        for job in phase.jobs:
            share = 1 if job in phase.server else min(plan.workers, len(phase.clients))
            stages[job.stage] = stages.get(job.stage, 0) + phase.times * _seconds([job], costs) / share
    clock = _with_background(clock, plan, costs)
    if plan.background:
        stages["centralised"] = _seconds(plan.background, costs)
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
        at_most=tuple(plan.early_ends),
        not_counted=tuple(plan.not_counted),
    )


def makespan(seconds: Sequence[float], workers: int) -> float:
    """Seconds until tasks of these `seconds` are done, where `workers` workers take them in this order."""
    free = [0.0] * max(1, workers)
    for task in seconds:
        heapq.heappush(free, heapq.heappop(free) + task)
    return max(free)


def _with_background(clock: float, plan: Plan, costs: Mapping[Unit, Cost]) -> float:
    """The clock with the background work, which one worker does from the end of the clients' first phase on."""
    seconds = _seconds(plan.background, costs)
    if not seconds:
        return clock
    if plan.workers == 1:
        return clock + seconds
    first = next((p for p in plan.phases if p.clients), Phase())
    start = makespan([_seconds(jobs, costs) for jobs in first.clients.values()], plan.workers)
    return max(clock, start + seconds)


def _seconds(jobs: Sequence[Job], costs: Mapping[Unit, Cost]) -> float:
    return sum(job.count * _unit_seconds(job.unit, costs) for job in jobs)


def _unit_seconds(unit: Unit, costs: Mapping[Unit, Cost]) -> float:
    if unit.kind == "fixed":
        return 1.0
    return PER_BYTE if unit.kind == "packing" else costs[unit].seconds


def _memory(plan: Plan, costs: Mapping[Unit, Cost], resident: int, data: int) -> int:
    """The largest number of bytes of all processes: while clients work, or while the server works and workers wait."""
    client_bytes = dict[int, int]()
    server_bytes = 0
    one_process = plan.workers == 1
    for phase in plan.phases:
        server_bytes = max(server_bytes, _largest(phase.server, costs))
        for client, jobs in phase.clients.items():
            client_bytes[client] = max(client_bytes.get(client, 0), _largest(jobs, costs))
    ceiling = [_largest(plan.background, costs)] if plan.background else []
    at_once = sorted([*client_bytes.values(), *ceiling])[-plan.workers :]  # the largest of them at the same time
    working = sum(at_once) + len(at_once) * (data + (0 if one_process else TOUCHED))
    waiting = (0 if one_process else round(IDLE * working)) + server_bytes + plan.pools
    return resident + TOOLS + max(working, waiting)


def _largest(jobs: Sequence[Job], costs: Mapping[Unit, Cost]) -> int:
    return max((costs[job.unit].memory for job in jobs if job.unit in costs), default=0)


def plural(n: int, noun: str) -> str:
    """1 step, 2 steps."""
    return f"{n:,} {noun}{'s' * (n != 1)}"


def duration(seconds: float) -> str:
    """Seconds as text: 40 s, 3 min, 2.5 h."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def size(count: float) -> str:
    """Bytes as text, in powers of 1000: 12 kB, 3.4 MB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 9.95 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
