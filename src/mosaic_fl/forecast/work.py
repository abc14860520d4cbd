"""The work of a run as counts: units of work, their numbers, the clients or the server that do them, their order."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Literal

Kind = Literal[
    "train", "generator", "forward", "sample", "prior", "meta", "teachers", "student",
    "synthesis", "lesson", "features", "fusion", "prototypes", "density", "packing", "fixed", "fit", "boost",
    "encode",
]  # fmt: skip
STEPS: tuple[Kind, ...] = ("train", "generator", "meta", "student", "synthesis", "lesson", "features", "fusion")
"""Kinds that are counted by steps of training. The others are counted by image, byte or second."""


@dataclass(frozen=True)
class Unit:
    """One kind of work that is measured once: a step, an image, a byte or (kind "fixed") a second.

    `name` is an architecture, a family of generators or a public encoder, `batch` the number of samples a step.
    `changes` are the differences from the run's `[train]`, or other conditions of the measurement.
    """

    kind: Kind
    name: str = ""
    batch: int = 1
    changes: tuple[tuple[str, float | str], ...] = ()


@dataclass(frozen=True)
class Job:
    """`count` units of work in one `stage` of the run."""

    stage: str
    unit: Unit
    count: float


@dataclass(frozen=True)
class Phase:
    """Work of clients, who work in parallel, and of the server after them; repeated `times` times.

    A phase starts when the phase before it ends. `clients` are in the order in which workers take them.
    """

    clients: Mapping[int, Sequence[Job]] = field(default_factory=dict)
    server: Sequence[Job] = ()
    times: int = 1

    @property
    def jobs(self) -> Iterator[Job]:
        """All jobs of one repetition."""
        yield from self.server
        for jobs in self.clients.values():
            yield from jobs


@dataclass(frozen=True)
class Plan:
    """The work of a command.

    `images` are read, `clients` take part, `workers` processes do the clients' work. `background` is work of one worker
    while the server works (the centralised reference). `up` and `down` are bytes of all clients, `disk` is the largest
    number of bytes on disk, `pools` the bytes of the server's pools in memory, `largest` the number of images of the
    largest client. `early_ends` are the reasons in words why some work may end early,
    `not_counted` what is not in the plan.
    """

    images: int
    clients: int
    phases: Sequence[Phase]
    workers: int = 1
    background: Sequence[Job] = ()
    up: int = 0
    down: int = 0
    disk: int = 0
    pools: int = 0
    largest: int = 0
    early_ends: Sequence[str] = ()
    not_counted: Sequence[str] = ()

    @property
    def units(self) -> dict[Unit, str]:
        """All distinct units that have to be measured, each with its role: "client" or "server"."""
        roles = dict[Unit, str]()
        for phase in self.phases:
            for job in phase.jobs:
                roles.setdefault(job.unit, "server" if job in phase.server else "client")
        for job in self.background:
            roles.setdefault(job.unit, "client")
        return {unit: role for unit, role in roles.items() if unit.kind not in ("fixed", "packing")}

    @property
    def largest_counts(self) -> dict[Unit, int]:
        """The largest count of each unit in one job: the most images of it that are ever there at once."""
        largest_counts = dict[Unit, int]()
        for _, unit, count in self._counts():
            largest_counts[unit] = max(largest_counts.get(unit, 0), ceil(count))
        return largest_counts

    @property
    def steps(self) -> int:
        """Steps of training, of all clients and the server."""
        return sum(self.steps_by_stage().values())

    def steps_by_stage(self) -> dict[str, int]:
        """Steps of training by stage, in the order of the stages."""
        counts = dict[str, float]()
        for stage, unit, count in self._counts():
            counts[stage] = counts.get(stage, 0) + (count if unit.kind in STEPS else 0)
        return {stage: ceil(count) for stage, count in counts.items()}

    def _counts(self) -> Iterator[tuple[str, Unit, float]]:
        """(stage, unit, count) of each job, repetitions of its phase included."""
        for phase in self.phases:
            for job in phase.jobs:
                yield job.stage, job.unit, job.count * phase.times
        for job in self.background:
            yield job.stage, job.unit, job.count
