"""The clients' work: each kind of task is a class here, for the local engine's workers and for clients on a network.

A task is plain data without samples; a `Workplace` has those.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.client.answering import answer_at, hold
from mosaic_fl.client.audit_gate import pass_gate, trainer
from mosaic_fl.client.boosting import Margins, gradient_sums, grow
from mosaic_fl.client.contribute import Site, contribute, split
from mosaic_fl.client.fusion import train_aggregator
from mosaic_fl.client.statistics import batch_statistics
from mosaic_fl.config import Config
from mosaic_fl.config.client import BARE
from mosaic_fl.domains.dataset import pool
from mosaic_fl.engines.losses import LOSS_COLUMNS, loss_table
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.federation import FitJob, Fitted, GrowJob, Start, SumJob
from mosaic_fl.exchange.query import Query
from mosaic_fl.experts.ensemble import of_state, to_state
from mosaic_fl.experts.naming import kind_of
from mosaic_fl.experts.network import NETWORK
from mosaic_fl.experts.training import train_classifier
from mosaic_fl.models import build
from mosaic_fl.models.fusion import load_aggregator
from mosaic_fl.models.network import Network, load_network
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State, copy_state
from mosaic_fl.server.students import is_network, pooled_state
from mosaic_fl.storage.journal import round_name
from mosaic_fl.training.monitor import Listener, Recorder


@dataclass(frozen=True)
class Workplace:
    """What all tasks use: the sites by client number, the configuration, the device, the listener to progress.

    Over a network it has a single site. Tasks train and measure weights in `network`, one after the other. `margins`
    are each client's training and validation rows under the latest ensemble of boosting, from which a task goes on.
    """

    sites: Mapping[int, Site]
    config: Config
    device: torch.device
    listen: Listener
    network: Network = field(default_factory=Network)
    margins: dict[int, tuple[Margins, Margins]] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskResult:
    """The value of a finished task, its seconds of work and its logged figures."""

    value: Any
    seconds: float
    metrics: list[dict[str, Any]] = field(default_factory=list)


Task = Callable[[Workplace], TaskResult]
WEIGHTS = "global weights"  # the name of a task's state in errors


@dataclass(frozen=True)
class ContributeTask:
    """The bytes of a contribution of client `client`, whose training begins from `start` where there is one.

    With `bare` it has a classifier, but no generator and no prototypes. `trained` is such a bare contribution, whose
    classifier the task takes instead of training one. With `figures` it has those of its validation split.
    """

    client: int
    start: Start | None = None
    bare: bool = False
    trained: Contribution | None = None
    figures: bool = True

    def __call__(self, place: Workplace) -> TaskResult:
        start = time.perf_counter()
        recorders = dict[str, Recorder]()

        def monitor(stage: str) -> Recorder:
            return recorders.setdefault(stage, Recorder(stage, self.client, place.listen))

        site = place.sites[self.client]
        state = None
        if self.start is not None:
            site = replace(site, architecture=self.start.architecture)
            state = self.start.state
        config = place.config.with_values(dict(BARE)) if self.bare else place.config
        contribution = contribute(site, config, place.device, monitor, state, self.trained)
        if not self.bare:
            contribution, _ = pass_gate(site, contribution, config, trainer(place.device), "off")
        metrics = [
            {"client": self.client, "part": stage, **figures}
            for stage, recorder in recorders.items()
            for figures in recorder.metrics
        ]
        return TaskResult(contribution.to_bytes(figures=self.figures), time.perf_counter() - start, metrics)


@dataclass(frozen=True)
class FitTask:
    """`Fitted` after `job` of a client in round `round`."""

    job: FitJob
    round: int

    def __call__(self, place: Workplace) -> TaskResult:
        start = time.perf_counter()
        config = place.config
        job = self.job
        train, validation = split(place.sites[job.client], config)
        model = place.network.load(job.architecture, train.schema, job.state, WEIGHTS)
        stream = Stream(config.run.seed, "fit", job.client, self.round)
        recorder = Recorder(round_name(self.round), job.client, place.listen)
        settings = config.train.model_copy(update=dict(job.settings))
        train_classifier(model, train, validation, settings, stream, place.device, recorder, job.latent)
        # No method reads figures of a round at one client, so none leave it.
        fitted = Fitted(job.client, copy_state(model), len(train), {}, train.class_counts())
        return TaskResult(fitted, time.perf_counter() - start)


@dataclass(frozen=True)
class BoostTask:
    """`Fitted` of client `client` after its part `job` of boosting round `round`."""

    client: int
    job: GrowJob | SumJob
    round: int

    def __call__(self, place: Workplace) -> TaskResult:
        start = time.perf_counter()
        job = self.job
        if self.client not in place.margins:
            train, validation = split(place.sites[self.client], place.config)
            place.margins[self.client] = Margins(train), Margins(validation)
        rows, checks = place.margins[self.client]
        schema = rows.data.schema
        trees = of_state(job.trees, schema, WEIGHTS)
        for margins in (rows, checks):
            margins.advance(trees)
        if isinstance(job, GrowJob):
            stream = Stream(place.config.run.seed, "boost", self.client, self.round)
            state = to_state(grow(rows, job.settings, stream))
        else:
            state = {"sums": gradient_sums(rows, of_state(job.growing, schema, WEIGHTS), job.nodes, job.bins)}
        figures = {"loss": checks.loss, "samples": float(len(checks.data))}
        fitted = Fitted(self.client, state, len(rows.data), figures, rows.data.class_counts())
        return TaskResult(fitted, time.perf_counter() - start)


@dataclass(frozen=True)
class StatisticsTask:
    """`Fitted` with the batch-norm statistics of `state` on the training data of client `client`."""

    client: int
    architecture: str
    state: State

    def __call__(self, place: Workplace) -> TaskResult:
        start = time.perf_counter()
        train, _ = split(place.sites[self.client], place.config)
        model = load_network(self.architecture, train.schema, self.state, WEIGHTS)  # a new one, since its layers change
        statistics = batch_statistics(model, train, place.device)
        samples = len(train) if statistics else 0  # 0 without batch norm, or with a single sample
        fitted = Fitted(self.client, statistics, samples, {}, train.class_counts())
        return TaskResult(fitted, time.perf_counter() - start)


@dataclass(frozen=True)
class EvaluateTask:
    """Confusion matrix int64 (C, C), true by predicted, of `state` on the validation split of client `client`.

    With `losses` it is int64 (1, 1 + T) instead: the samples, and the sums of their log-loss in `MILLINATS` at
    each of `TEMPERATURES`.
    """

    client: int
    architecture: str
    state: State
    losses: bool = False

    def __call__(self, place: Workplace) -> TaskResult:
        start = time.perf_counter()
        _, validation = split(place.sites[self.client], place.config)
        classes = validation.schema.num_classes
        if not len(validation):
            return TaskResult(
                torch.zeros((1, LOSS_COLUMNS) if self.losses else (classes, classes), dtype=torch.int64), 0.0
            )
        kind = kind_of(self.architecture)
        load = place.network.load if kind is NETWORK else kind.load
        expert = load(self.architecture, validation.schema, self.state, "the model to judge")
        outputs = expert.log_probabilities(validation.samples, place.device)
        if self.losses:
            return TaskResult(loss_table(outputs, validation.labels), time.perf_counter() - start)
        predictions = outputs.argmax(1)
        cells: Tensor = torch.bincount(validation.labels * classes + predictions, minlength=classes**2)
        return TaskResult(cells.view(classes, classes), time.perf_counter() - start)


@dataclass(frozen=True)
class AnswerTask:
    """The bytes of the answer of a black box to `query`: by its model `held`, or one trained now, or its function."""

    query: Query
    held: Contribution | None = None

    def __call__(self, place: Workplace) -> TaskResult:
        start = time.perf_counter()
        site = place.sites[self.query.client]
        held = hold(site, place.config, place.device) if self.held is None else self.held
        answer = answer_at(site, self.query, held, place.device)
        return TaskResult(answer.to_bytes(), time.perf_counter() - start)


@dataclass(frozen=True)
class OutputsTask:
    """(logits (n, K, C) of all experts, labels (n,)) on the validation split of client `client`, which may be empty."""

    client: int
    contributions: tuple[Contribution, ...]

    def __call__(self, place: Workplace) -> TaskResult:
        start = time.perf_counter()
        _, validation = split(place.sites[self.client], place.config)
        if not len(validation):
            shape = (0, len(self.contributions), validation.schema.num_classes)
            return TaskResult((torch.zeros(shape), validation.labels), 0.0)
        experts = (c.build_expert() for c in self.contributions)
        outputs = torch.stack([expert.log_probabilities(validation.samples, place.device) for expert in experts], 1)
        return TaskResult((outputs, validation.labels), time.perf_counter() - start)


@dataclass(frozen=True)
class FusionTask:
    """`Fitted` of client `client`: the aggregator `state` trained on `outputs` (n, K, C) and `labels` (n,)."""

    client: int
    outputs: Tensor
    labels: Tensor
    state: State
    settings: Mapping[str, Any]
    round: int

    def __call__(self, place: Workplace) -> TaskResult:
        start = time.perf_counter()
        samples = len(self.labels)
        if not samples:
            return TaskResult(Fitted(self.client, self.state, 0, {"samples": 0}), 0.0)
        aggregator = load_aggregator(self.state, *self.outputs.shape[1:])
        settings = place.config.meta.model_copy(update=dict(self.settings))
        stream = Stream(place.config.run.seed, "fusion", self.client, self.round)
        recorder = Recorder(round_name(self.round), self.client, place.listen)
        figures = train_aggregator(aggregator, self.outputs, self.labels, settings, stream, place.device, recorder)
        return TaskResult(Fitted(self.client, copy_state(aggregator), samples, figures), time.perf_counter() - start)


@dataclass(frozen=True)
class CeilingTask:
    """The ceiling: the state of `architecture` after at least `steps` steps of training on all clients' samples."""

    architecture: str
    steps: int

    def __call__(self, place: Workplace) -> TaskResult:
        start = time.perf_counter()
        config = place.config
        splits = [split(site, config) for site in place.sites.values()]
        train = pool([train for train, _ in splits])
        validation = pool([validation for _, validation in splits])
        if not is_network(self.architecture):
            state = pooled_state(self.architecture, pool([train, validation]), config)
            return TaskResult(state, time.perf_counter() - start)
        with Stream(config.run.seed, "student-init").ambient():
            model = build(self.architecture, train.schema)
        longest = max(self.steps, config.train.max_steps)
        budget = config.train.model_copy(update={"min_steps": self.steps, "max_steps": longest})
        recorder = Recorder("centralised", -1, place.listen)
        stream = Stream(config.run.seed, "centralised")
        train_classifier(model, train, validation, budget, stream, place.device, recorder)
        return TaskResult(copy_state(model), time.perf_counter() - start, recorder.metrics)
