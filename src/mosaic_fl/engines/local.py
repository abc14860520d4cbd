"""The `local` engine: all clients on this machine, in this process or in worker processes."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Self

import torch
from torch import Tensor

from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.schema import Schema
from mosaic_fl.engines.answer_store import ASKING, AnswerStore
from mosaic_fl.engines.contribution_store import ContributionStore
from mosaic_fl.engines.sites import tally
from mosaic_fl.engines.tasks import (
    AnswerTask,
    BoostTask,
    CeilingTask,
    ContributeTask,
    EvaluateTask,
    FitTask,
    FusionTask,
    OutputsTask,
    StatisticsTask,
    Task,
    TaskResult,
    Workplace,
)
from mosaic_fl.engines.workers import InProcess, Workers
from mosaic_fl.errors import MosaicError, in_one_line
from mosaic_fl.exchange.audited import Audited
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.federation import FitJob, Fitted, GrowJob, Start, SumJob
from mosaic_fl.exchange.query import Answer, Query, answer_from
from mosaic_fl.notes import note
from mosaic_fl.numerics.states import State
from mosaic_fl.storage.journal import Journal, Stage
from mosaic_fl.storage.stopwatch import CLIENTS


def worker_count(workers: int, tasks: int, device: torch.device) -> int:
    """How many worker processes to start for the setting `workers` (0: one a core).

    Never more than there are tasks; one on an accelerator.
    """
    if device.type != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(workers or cores, tasks))


class LocalFederation:
    """A `Federation` of `sites`. Use as a context manager: its workers live within the block.

    The result is the same for any number of workers. Contributions are stored in `journal` and, where that has a
    folder, as files in `contributions/`; a resumed run recalls them. `seconds` counts each client's work so far, also
    that of recalled contributions. `alone` has each contribution's figures on its client's validation data, `audits`
    what the clients' own audits have found, where they say it.
    """

    def __init__(self, sites: Sequence[Site], config: Config, device: torch.device, journal: Journal) -> None:
        self.sites = tuple(sites)
        self.config = config
        self.journal = journal
        self.alone = dict[int, Mapping[str, float]]()
        self.audits = dict[int, Audited]()
        self.seconds = dict.fromkeys(range(len(self.sites)), 0.0)
        self.place = Workplace(dict(enumerate(self.sites)), config, device, journal.listen)
        self._ceiling: tuple[Task, Future[TaskResult] | None] | None = None
        self._outputs: tuple[Sequence[Contribution], dict[int, tuple[Tensor, Tensor]]] = ((), {})
        count = worker_count(config.run.workers, len(sites), device)
        self.workers = InProcess(self.place) if count == 1 else Workers(self.place, count)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.workers.close()

    @property
    def schema(self) -> Schema:
        """The schema of all clients' samples."""
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
        """Every client's contribution, computed or recalled from the journal; raises the first fault at the end.

        `journal` replaces the engine's own, for contributions that outlive the run. `bare` and `trained` are for a
        contribution in two steps: see `ContributeTask`.
        """
        starts = start or {}
        classifiers = {contribution.client: contribution for contribution in trained or ()}
        journal = self.journal if journal is None else journal
        store = ContributionStore(journal)
        with journal.clock.stage(CLIENTS):
            contributions = {client: self._recall(client, store) for client in range(len(self.sites))}
            absent = [client for client, contribution in contributions.items() if contribution is None]
            tasks = {k: ContributeTask(k, starts.get(k), bare, classifiers.get(k)) for k in absent}
            contributions |= self._collect(tasks, store)
        journal.listen(CLIENTS, -1, 1, 1)
        return [contribution for _, contribution in sorted(contributions.items()) if contribution is not None]

    def fit(self, jobs: Sequence[FitJob], round: int) -> list[Fitted]:
        """The weights after each client's job."""
        return self._all({job.client: FitTask(job, round) for job in jobs})

    def boost(self, job: GrowJob | SumJob, clients: Sequence[int], round: int) -> list[Fitted]:
        """The answer of each of `clients` to the job."""
        return self._all({k: BoostTask(k, job, round) for k in clients})

    def statistics(self, architecture: str, state: State) -> list[Fitted]:
        """Each client's batch-norm statistics of `state` on its training data."""
        return self._all({k: StatisticsTask(k, architecture, state) for k in range(len(self.sites))})

    def evaluate(
        self, architecture: str, state: State, clients: Sequence[int] | None = None, *, losses: bool = False
    ) -> list[Tensor]:
        """The confusion matrices, or the losses, of `clients`, or of all, on their validation splits."""
        judges = range(len(self.sites)) if clients is None else clients
        return self._all({k: EvaluateTask(k, architecture, state, losses) for k in judges})

    def judge(self, architecture: str, state: State) -> dict[int, Tensor]:
        """As `evaluate` of all clients, by client number."""
        return dict(enumerate(self.evaluate(architecture, state)))

    def tally(self, count: Callable[[Dataset], Mapping[str, int]]) -> Mapping[str, int]:
        """The sums of what `count` finds on each client's validation split."""
        return tally(count, self.sites, self.config)

    def fit_fusion(
        self,
        contributions: Sequence[Contribution],
        state: State,
        clients: Sequence[int],
        settings: Mapping[str, Any],
        round: int,
    ) -> list[Fitted]:
        """The aggregator `state`, trained by each of `clients` on the experts' outputs on its validation split."""
        outputs = self._experts_outputs(contributions, clients)
        return self._all({k: FusionTask(k, *outputs[k], state, settings, round) for k in clients})

    def answer(self, queries: Sequence[Query]) -> list[Answer]:
        """The answers of black boxes, computed or recalled; a note says whose are missing, and why."""
        store = AnswerStore(self.journal)
        answers = {query.client: answer for query in queries if (answer := store.recall(query)) is not None}
        for query in queries:
            self.seconds[query.client] += store.seconds(query) if query.client in answers else 0.0
        unanswered = {query.client: query for query in queries if query.client not in answers}
        with self.journal.clock.stage(ASKING):
            futures = {client: self.workers.submit(AnswerTask(query)) for client, query in unanswered.items()}
            for client, query in unanswered.items():
                try:
                    answers[client] = self._answered(query, futures[client], store)
                except MosaicError as error:
                    if isinstance(error.__cause__, BrokenProcessPool):
                        raise
                    note(f"client {client}, a black box, gave no answers: {in_one_line(error)}")
        return [answers[query.client] for query in queries if query.client in answers]

    def _answered(self, query: Query, future: "Future[TaskResult]", store: AnswerStore) -> Answer:
        result = self._result(future)
        self.seconds[query.client] += result.seconds
        answer = answer_from(query, result.value, "its answer")
        store.keep(query, answer, result)
        return answer

    def _experts_outputs(
        self, contributions: Sequence[Contribution], clients: Sequence[int]
    ) -> dict[int, tuple[Tensor, Tensor]]:
        """The experts' outputs on each client's validation split, computed once for the latest contributions.

        On a network they are in the client's memory; here the engine has all sites' data anyway.
        """
        latest, outputs = self._outputs
        if len(latest) != len(contributions) or any(a is not b for a, b in zip(latest, contributions, strict=True)):
            outputs = {}
            self._outputs = (tuple(contributions), outputs)
        experts = tuple(contribution.without_generator() for contribution in contributions)
        absent = [k for k in clients if k not in outputs]
        outputs.update(zip(absent, self._all({k: OutputsTask(k, experts) for k in absent}), strict=True))
        return outputs

    def plan_ceiling(self, architecture: str, steps: int) -> None:
        """Train the ceiling after the clients' next work, while the server works; see `ceiling`."""
        self._ceiling = (CeilingTask(architecture, steps), None)

    def ceiling(self) -> State:
        """The weights of the planned ceiling, a model trained on the pooled data."""
        stage = self.journal.recall("centralised")
        if stage is None:
            self._start_ceiling()
            assert self._ceiling is not None
            assert self._ceiling[1] is not None
            with self.journal.clock.stage("centralised"):  # only the rest, since it ran beside the server's work
                result = self._result(self._ceiling[1])
            stage = Stage(result.value, {}, result.seconds, result.metrics)
            self.journal.keep("centralised", stage)
        self.journal.listen("centralised", -1, 1, 1)
        return stage.tensors

    def _start_ceiling(self) -> None:
        if self._ceiling and self._ceiling[1] is None and self.journal.recall("centralised") is None:
            self._ceiling = (self._ceiling[0], self.workers.submit(self._ceiling[0]))

    def _by_size(self, clients: Sequence[int]) -> list[int]:
        """Clients with the most samples first, so that the longest task does not run alone at the end."""
        return sorted(clients, key=lambda k: -len(self.sites[k].data))

    def _all(self, tasks: Mapping[int, Task]) -> list[Any]:
        """The values of the clients' tasks, in the order of `tasks`."""
        futures = {k: self.workers.submit(tasks[k]) for k in self._by_size(list(tasks))}
        self._start_ceiling()
        results = {k: self._result(futures[k]) for k in tasks}
        for client, result in results.items():
            self.seconds[client] += result.seconds
        return [result.value for result in results.values()]

    def _collect(self, tasks: dict[int, ContributeTask], store: ContributionStore) -> dict[int, Contribution | None]:
        """Run the tasks and store each result at once; raise the first fault only after all of them."""
        futures = {self.workers.submit(tasks[k]): k for k in self._by_size(list(tasks))}
        self._start_ceiling()
        contributions: dict[int, Contribution | None] = {}
        faults: list[MosaicError] = []
        for client, future in self._as_they_end(futures):
            try:
                contributions[client] = self._keep(client, self._result(future), store)
            except MosaicError as fault:
                faults.append(type(fault)(f"client {client}: {fault}"))
            except Exception as fault:  # out of memory, or an error of a user's own model; the other clients go on
                faults.append(MosaicError(f"client {client}: {type(fault).__name__}: {fault}"))
                faults[-1].__cause__ = fault
        if faults:
            raise faults[0]
        return contributions

    def _as_they_end(self, futures: "dict[Future[TaskResult], int]") -> "Iterator[tuple[int, Future[TaskResult]]]":
        """(client, future) of each task as it ends. Nothing holds its result any more: one is in memory at a time."""
        if isinstance(self.workers, InProcess):
            while futures:
                future = next(iter(futures))
                yield futures.pop(future), future
        else:
            for future in as_completed(futures):
                yield futures.pop(future), future

    def _keep(self, client: int, result: TaskResult, store: ContributionStore) -> Contribution:
        contribution = Contribution.from_bytes(result.value, f"contribution of client {client}")
        self.seconds[client] += result.seconds
        self._note(contribution)
        return store.keep(contribution, result)

    def _recall(self, client: int, store: ContributionStore) -> Contribution | None:
        entry = store.recall(client)
        if entry is None:
            return None
        self.seconds[client] += entry.seconds
        self._note(entry.contribution)
        return entry.contribution

    def _note(self, contribution: Contribution) -> None:
        self.alone[contribution.client] = contribution.validation
        if contribution.audit is not None:
            self.audits[contribution.client] = contribution.audit

    @staticmethod
    def _result(future: "Future[TaskResult]") -> TaskResult:
        try:
            return future.result()
        except BrokenProcessPool as error:
            raise MosaicError(
                "a worker process was killed, perhaps for memory: go on with --resume and fewer --workers"
            ) from error
