"""The loop of methods whose server learns after each round's average: FedDF, FedGen, FedFTG, DFRD."""

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
    flatten,
    local_settings,
    packed_sizes,
    participants,
    shared_architecture,
    traffic,
    unflatten,
    validation_figures,
)
from mosaic_fl.methods.merging import merged
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.methods.sending import with_result
from mosaic_fl.models import build
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.network import load_network
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State, copy_state
from mosaic_fl.storage.journal import Journal, Stage
from mosaic_fl.training.monitor import Monitor

GLOBAL = "global"
"""The key of the global model's weights in a method's memory."""


@dataclass(frozen=True)
class Answers:
    """The answers of one round, the architecture of each, and the weights to which the server merged them."""

    fitted: Sequence[Fitted]
    architectures: Sequence[str]
    merged: State

    @property
    def class_counts(self) -> Tensor:
        """int64 (K, C): training samples of the K clients that answered, by class."""
        return torch.stack([f.class_counts for f in self.fitted])

    def experts(self, schema: Schema) -> list[Classifier]:
        """The models of the clients that answered, in eval mode."""
        return [load_model(name, schema, f.state) for name, f in zip(self.architectures, self.fitted, strict=True)]


Train = Callable[[States, Sequence[int], int], Answers]
"""(memory, clients, round) -> their answers: the clients' part of a round."""
Serve = Callable[[States, Answers, int, Monitor], States]
"""(memory, answers, round, monitor) -> the memory for the next round: the server's part of a round."""


def start(federation: Federation, config: Config, method: str) -> tuple[str, State]:
    """The clients' one architecture and its first weights. These are the same as FedAvg's, so that methods compare.

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
    """A round of FedAvg: `clients` train `architecture` from `state`; the server merges the answers."""
    local = local_settings(config.rounds)
    fitted = federation.fit([FitJob(k, architecture, state, local, latent) for k in clients], round)
    return Answers(fitted, [architecture] * len(fitted), merged(fitted, state, config.rounds))


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
    """In each of `rounds` a share of the clients trains, then the server learns; returns the memory after the last.

    `memory` is what the server stores between rounds; `memory[GLOBAL]` are the weights of `architecture`. Each round is
    a stage of `journal`; the stage lists the clients that answered and logs the accuracy on all clients' validation
    splits.
    """

    def work_round(previous: Stage, round: int, monitor: Monitor) -> tuple[State, dict[str, Any]]:
        old_memory = unflatten(previous.tensors)
        clients = range(len(federation.architectures))
        cohort = participants(clients, config.rounds.participation, config.run.seed, round)
        answers = train(old_memory, cohort, round)
        new_memory = serve(old_memory, answers, round, monitor)
        monitor.log(round, **validation_figures(federation.evaluate(architecture, new_memory[GLOBAL])))
        return flatten(new_memory), {"participants": [f.client for f in answers.fitted]}

    return unflatten(journal.rounds(rounds, Stage(flatten(memory)), work_round).tensors)


def all_rounds(config: Config) -> range:
    """`config.rounds.warm_up` rounds, at least one."""
    return range(max(1, config.rounds.warm_up))


def load_model(architecture: str, schema: Schema, state: State) -> Classifier:
    """The classifier with these weights, in eval mode."""
    return load_network(architecture, schema, state, "client's weights")


def equal_outcome(
    federation: Federation, architecture: str, state: State, rounds: range, journal: Journal, extra_down: int = 0
) -> Outcome:
    """The outcome of rounds in which only weights of `architecture` travelled; in the end the result goes down.

    From the second round on, `extra_down` more bytes went to each client that answered.
    """
    groups = dict.fromkeys(range(len(federation.architectures)), architecture)
    up = traffic(packed_sizes(groups, {architecture: state}, federation.schema), rounds, journal)
    extra = traffic(dict.fromkeys(groups, extra_down), rounds[1:], journal)
    down = [weights + more for weights, more in zip(up, extra, strict=True)]
    model = GlobalModel(architecture, federation.schema, state)
    return Outcome(model, up, with_result(down, model))
