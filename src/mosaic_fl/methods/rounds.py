"""What methods share whose server does more, after each round's average, than averaging: the loop and its stages."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.config import Config
from mosaic_fl.domains.schema import Schema
from mosaic_fl.exchange.federation import Federation, FitJob, Fitted
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.generators.latent import Latent
from mosaic_fl.methods.averaging import (
    States,
    flat,
    local_settings,
    nested,
    packed_sizes,
    participants,
    shared_architecture,
    traffic,
    validation_figures,
    weighted_average,
)
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.methods.sending import delivered
from mosaic_fl.models import build
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.network import load_network
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State, copy_state
from mosaic_fl.storage.journal import Journal, Stage
from mosaic_fl.training.monitor import Monitor

GLOBAL = "global"
"""Where a method's memory keeps the weights of the global model."""


@dataclass(frozen=True)
class Answers:
    """What those sent who answered in one round, the architecture of each, and what the server merged it to."""

    fitted: Sequence[Fitted]
    architectures: Sequence[str]
    merged: State

    @property
    def class_counts(self) -> Tensor:
        """int64 (K, C): the training samples by class of each that answered."""
        return torch.stack([f.class_counts for f in self.fitted])

    def experts(self, schema: Schema) -> list[Classifier]:
        """The models of those that answered, in eval mode."""
        return [load_model(name, schema, f.state) for name, f in zip(self.architectures, self.fitted, strict=True)]


Train = Callable[[States, Sequence[int], int], Answers]
"""(memory, clients asked, round) -> what they send; it is the clients' part of a round."""
Serve = Callable[[States, Answers, int, Monitor], States]
"""(memory, answers, round, monitor) -> the memory for the next round; it is the server's part of a round."""


def start(federation: Federation, config: Config, method: str) -> tuple[str, State]:
    """The clients' one architecture and its first weights, which are FedAvg's, so that methods compare.

    Raises UsageError where the architectures differ.
    """
    architecture = shared_architecture(federation.architectures, method)
    with Stream(config.run.seed, "fedavg-init").ambient():
        return architecture, copy_state(build(architecture, federation.schema))


def train_equal(
    federation: Federation,
    architecture: str,
    state: State,
    clients: Sequence[int],
    round: int,
    config: Config,
    latent: Latent | None = None,
) -> Answers:
    """FedAvg's round: `clients` train `architecture` on from `state`; merged is the average, by samples, of answers."""
    local = local_settings(config.rounds)
    fitted = federation.fit([FitJob(k, architecture, state, local, latent) for k in clients], round)
    return Answers(fitted, [architecture] * len(fitted), weighted_average(fitted))


def serve_rounds(
    federation: Federation,
    architecture: str,
    memory: States,
    rounds: range,
    config: Config,
    journal: Journal,
    train: Train,
    serve: Serve,
) -> States:
    """In each of `rounds` a share of the clients trains and the server works on; returns the memory of the last one.

    `memory[GLOBAL]` are the weights of `architecture`; what else the server keeps between rounds lies beside them.
    Each round is a stage of `journal`, which says who answered, and logs the accuracy on all clients' validation
    splits.
    """

    def one_round(before: Stage, round: int, monitor: Monitor) -> tuple[State, dict[str, Any]]:
        remembered = nested(before.tensors)
        clients = range(len(federation.architectures))
        asked = participants(clients, config.rounds.participation, config.run.seed, round)
        answers = train(remembered, asked, round)
        kept = serve(remembered, answers, round, monitor)
        monitor.log(round, **validation_figures(federation.evaluate(architecture, kept[GLOBAL])))
        return flat(kept), {"participants": [f.client for f in answers.fitted]}

    return nested(journal.rounds(rounds, Stage(flat(memory)), one_round).tensors)


def all_rounds(config: Config) -> range:
    """`config.rounds.warm_up` rounds, at least one."""
    return range(max(1, config.rounds.warm_up))


def load_model(architecture: str, schema: Schema, state: State) -> Classifier:
    """The classifier with these weights, in eval mode."""
    return load_network(architecture, schema, state, "client's weights")


def equal_outcome(
    federation: Federation, architecture: str, state: State, rounds: range, journal: Journal, extra_down: int = 0
) -> Outcome:
    """The outcome of rounds in which only weights of `architecture` travelled, up and down, and then the result.

    From the second round on `extra_down` bytes more went to each client that answered.
    """
    groups = dict.fromkeys(range(len(federation.architectures)), architecture)
    up = traffic(packed_sizes(groups, {architecture: state}, federation.schema), rounds, journal)
    more = traffic(dict.fromkeys(groups, extra_down), rounds[1:], journal)
    down = [a + b for a, b in zip(up, more, strict=True)]
    model = GlobalModel(architecture, federation.schema, state)
    return Outcome(model, up, delivered(down, model))
