"""The work of a run as counts: which steps, how many of them, whose, and in which order."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Literal

Kind = Literal[
    "train", "generator", "forward", "sample", "prior", "meta", "teachers", "student",
    "synthesis", "lesson", "features", "fusion", "prototypes", "density", "packing", "fixed",
]  # fmt: skip
STEPS: tuple[Kind, ...] = ("train", "generator", "meta", "student", "synthesis", "lesson", "features", "fusion")
"""What counts as a step of training; the other kinds are counted by image, byte or second."""


@dataclass(frozen=True)
class Unit:
    """One kind of work that is measured once: a step, an image, a byte or (kind "fixed") a second.

    `name` is an architecture or a family of generators, `batch` the samples a step, `changes` what differs from the
    run's `[train]`.
    """

    kind: Kind
    name: str = ""
    batch: int = 1
    changes: tuple[tuple[str, float | str], ...] = ()


@dataclass(frozen=True)
class Job:
    """`count` of `unit`, in the stage of the run that has that name."""

    stage: str
    unit: Unit
    count: float


@dataclass(frozen=True)
class Phase:
    """Work that follows the phase before it, `times` times over: of clients, side by side, or of the server.

    `clients` are in the order in which workers take them.
    """

    clients: Mapping[int, Sequence[Job]] = field(default_factory=dict)
    server: Sequence[Job] = ()
    times: int = 1

    @property
    def jobs(self) -> Iterator[Job]:
        """All jobs of one of its times."""
        yield from self.server
        for jobs in self.clients.values():
            yield from jobs


@dataclass(frozen=True)
class Plan:
    """What a command has to do.

    `images` are read, `clients` take part, `behind` is work of one worker while the server works (the ceiling);
    `workers` processes do the clients' work. `up` and `down` are bytes of all clients, `disk` bytes at most while it
    runs, `pools` bytes that the server holds at once, `largest` the images of the largest
    client; `unknown` says what can end earlier than counted.
    """

    images: int
    clients: int
    phases: Sequence[Phase]
    workers: int = 1
    behind: Sequence[Job] = ()
    up: int = 0
    down: int = 0
    disk: int = 0
    pools: int = 0
    largest: int = 0
    unknown: Sequence[str] = ()

    @property
    def units(self) -> dict[Unit, str]:
        """All distinct units that have to be measured, each with who does it: "client" or "server"."""
        asked = dict[Unit, str]()
        for phase in self.phases:
            for job in phase.jobs:
                asked.setdefault(job.unit, "server" if job in phase.server else "client")
        for job in self.behind:
            asked.setdefault(job.unit, "client")
        return {unit: who for unit, who in asked.items() if unit.kind not in ("fixed", "packing")}

    @property
    def most(self) -> dict[Unit, int]:
        """The largest count of each unit in one job: of what is counted by image, more are never there at once."""
        most = dict[Unit, int]()
        for _, unit, count in self._counted():
            most[unit] = max(most.get(unit, 0), ceil(count))
        return most

    @property
    def steps(self) -> int:
        """Steps of training, of all clients and the server."""
        return sum(self.steps_by_stage().values())

    def steps_by_stage(self) -> dict[str, int]:
        """Steps of training by stage, in the order of the stages."""
        counts = dict[str, float]()
        for stage, unit, count in self._counted():
            counts[stage] = counts.get(stage, 0) + (count if unit.kind in STEPS else 0)
        return {stage: ceil(count) for stage, count in counts.items()}

    def _counted(self) -> Iterator[tuple[str, Unit, float]]:
        for phase in self.phases:
            for job in phase.jobs:
                yield job.stage, job.unit, job.count * phase.times
        for job in self.behind:
            yield job.stage, job.unit, job.count
