"""The `local` engine: all clients on one machine, in this process or in worker processes."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor

from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config
from mosaic_fl.domains.schema import Schema
from mosaic_fl.engines.kept import KeptContributions
from mosaic_fl.engines.tasks import (
    CeilingTask,
    ContributeTask,
    Done,
    EvaluateTask,
    FitTask,
    FusionTask,
    OutputsTask,
    StatisticsTask,
    Task,
    Workplace,
)
from mosaic_fl.engines.workers import InProcess, Workers
from mosaic_fl.errors import MosaicError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.federation import FitJob, Fitted, Start
from mosaic_fl.numerics.states import State
from mosaic_fl.storage.journal import Journal, Stage
from mosaic_fl.storage.stopwatch import CLIENTS


def worker_count(asked: int, tasks: int, device: torch.device) -> int:
    """`asked`, or for 0 one worker a core; never more than there are tasks, and one on an accelerator."""
    if device.type != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(asked or cores, tasks))


class LocalFederation:
    """A `Federation` of `sites`. Use as a context manager: its workers live within the block.

    The result is the same for any number of workers. Contributions are kept in `journal` and, where that has a
    folder, as files in `contributions/`; those already there are not made again. `seconds` counts each client's work
    so far, also that of contributions which were found; `alone` has their figures on the clients' own validation data.
    """

    def __init__(self, sites: Sequence[Site], config: Config, device: torch.device, journal: Journal) -> None:
        self.sites = tuple(sites)
        self.config = config
        self.journal = journal
        self.alone = dict[int, Mapping[str, float]]()
        self.seconds = dict.fromkeys(range(len(self.sites)), 0.0)
        self.place = Workplace(dict(enumerate(self.sites)), config, device, journal.listen)
        self._ceiling: tuple[Task, Future[Done] | None] | None = None
        self._outputs: tuple[Sequence[Contribution], dict[int, tuple[Tensor, Tensor]]] = ((), {})
        count = worker_count(config.run.workers, len(sites), device)
        self.workers = InProcess(self.place) if count == 1 else Workers(self.place, count)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.workers.close()

    @property
    def schema(self) -> Schema:
        """What all clients' samples are."""
        return self.sites[0].data.schema

    @property
    def architectures(self) -> Sequence[str]:
        """The name of each client's architecture."""
        return [site.architecture for site in self.sites]

    def contribute(
        self,
        start: Mapping[int, Start] | None = None,
        *,
        journal: Journal | None = None,
        bare: bool = False,
        trained: Sequence[Contribution] | None = None,
    ) -> list[Contribution]:
        """Every client's contribution, made now or found in the journal; raises the first fault after all are done.

        `journal` is another than the engine's own, for contributions that outlive the run. `bare` and `trained` are for
        who makes them in two steps: see `ContributeTask`.
        """
        begin = start or {}
        known = {c.client: c for c in trained or ()}
        where = self.journal if journal is None else journal
        kept = KeptContributions(where)
        with where.clock.stage(CLIENTS):
            recalled = {client: self._recall(client, kept) for client in range(len(self.sites))}
            missing = [client for client, contribution in recalled.items() if contribution is None]
            tasks = {k: ContributeTask(k, begin.get(k), bare, known.get(k)) for k in missing}
            recalled |= self._collect(tasks, kept)
        where.listen(CLIENTS, -1, 1, 1)
        return [made for _, made in sorted(recalled.items()) if made is not None]

    def fit(self, jobs: Sequence[FitJob], round: int) -> list[Fitted]:
        """The weights of the clients that have a job after it."""
        return self._all({job.client: FitTask(job, round) for job in jobs})

    def statistics(self, architecture: str, state: State) -> list[Fitted]:
        """Each client's batch-norm statistics of `state` on its training data."""
        return self._all({k: StatisticsTask(k, architecture, state) for k in range(len(self.sites))})

    def evaluate(self, architecture: str, state: State, clients: Sequence[int] | None = None) -> list[Tensor]:
        """The confusion matrices of `clients`, or of all, on their validation splits."""
        asked = range(len(self.sites)) if clients is None else clients
        return self._all({k: EvaluateTask(k, architecture, state) for k in asked})

    def judge(self, architecture: str, state: State) -> dict[int, Tensor]:
        """As `evaluate` of all clients, by their numbers."""
        return dict(enumerate(self.evaluate(architecture, state)))

    def fit_fusion(
        self,
        contributions: Sequence[Contribution],
        state: State,
        clients: Sequence[int],
        settings: Mapping[str, Any],
        round: int,
    ) -> list[Fitted]:
        """The aggregator `state`, trained by each of `clients` on the experts' outputs on its validation split."""
        seen = self._experts_outputs(contributions, clients)
        return self._all({k: FusionTask(k, *seen[k], state, settings, round) for k in clients})

    def _experts_outputs(
        self, contributions: Sequence[Contribution], clients: Sequence[int]
    ) -> dict[int, tuple[Tensor, Tensor]]:
        """What each client sees on its validation split: computed once, kept for the latest contributions alone.

        On a network this would be the client's memory; here it is the engine's, which has all sites' data anyway.
        """
        of, seen = self._outputs
        if len(of) != len(contributions) or any(a is not b for a, b in zip(of, contributions, strict=True)):
            seen = {}
            self._outputs = (tuple(contributions), seen)
        experts = tuple(replace(c, generator=None, generator_spec=None) for c in contributions)  # all that is run
        missing = [k for k in clients if k not in seen]
        seen.update(zip(missing, self._all({k: OutputsTask(k, experts) for k in missing}), strict=True))
        return seen

    def plan_ceiling(self, architecture: str, steps: int) -> None:
        """Train the ceiling behind the clients' next work, while the server works; see `ceiling`."""
        self._ceiling = (CeilingTask(architecture, steps), None)

    def ceiling(self) -> State:
        """The weights of the planned ceiling: what training on the pooled data would give."""
        kept = self.journal.recall("centralised")
        if kept is None:
            self._start_ceiling()
            assert self._ceiling is not None
            assert self._ceiling[1] is not None
            with self.journal.clock.stage("centralised"):  # the rest of it: it ran beside the server's work
                done = self._result(self._ceiling[1])
            kept = Stage(done.value, {}, done.seconds, done.metrics)
            self.journal.keep("centralised", kept)
        self.journal.listen("centralised", -1, 1, 1)
        return kept.tensors

    def _start_ceiling(self) -> None:
        if self._ceiling and self._ceiling[1] is None and self.journal.recall("centralised") is None:
            self._ceiling = (self._ceiling[0], self.workers.submit(self._ceiling[0]))

    def _by_size(self, clients: Sequence[int]) -> list[int]:
        """Largest first, so that no worker is left alone with the longest task at the end."""
        return sorted(clients, key=lambda k: -len(self.sites[k].data))

    def _all(self, tasks: Mapping[int, Task]) -> list[Any]:
        """The values of the clients' tasks, in their order."""
        futures = {k: self.workers.submit(tasks[k]) for k in self._by_size(list(tasks))}
        self._start_ceiling()
        done = {k: self._result(futures[k]) for k in tasks}
        for client, one in done.items():
            self.seconds[client] += one.seconds
        return [one.value for one in done.values()]

    def _collect(self, tasks: dict[int, ContributeTask], kept: KeptContributions) -> dict[int, Contribution | None]:
        """Run the tasks, keep each result as soon as it is there, and only then raise the first fault."""
        futures = {self.workers.submit(tasks[k]): k for k in self._by_size(list(tasks))}
        self._start_ceiling()
        made: dict[int, Contribution | None] = {}
        faults: list[MosaicError] = []
        in_order = futures if isinstance(self.workers, InProcess) else as_completed(futures)
        for future in in_order:
            try:
                done = self._result(future)
                made[futures[future]] = self._keep(futures[future], done, kept)
            except MosaicError as fault:
                faults.append(type(fault)(f"client {futures[future]}: {fault}"))
            except Exception as fault:  # out of memory, or whatever a user's own model raises: the others go on
                faults.append(MosaicError(f"client {futures[future]}: {type(fault).__name__}: {fault}"))
                faults[-1].__cause__ = fault
        if faults:
            raise faults[0]
        return made

    def _keep(self, client: int, done: Done, kept: KeptContributions) -> Contribution:
        made = Contribution.from_bytes(done.value, f"contribution of client {client}")
        self.seconds[client] += done.seconds
        kept.keep(client, done)
        self.alone[client] = made.validation
        return made

    def _recall(self, client: int, kept: KeptContributions) -> Contribution | None:
        found = kept.recall(client)
        if found is None:
            return None
        self.seconds[client] += found.seconds
        self.alone[client] = found.contribution.validation
        return found.contribution

    @staticmethod
    def _result(future: "Future[Done]") -> Done:
        try:
            return future.result()
        except BrokenProcessPool as error:
            raise MosaicError(
                "a worker process was killed, perhaps for memory: go on with --resume and fewer --workers"
            ) from error
