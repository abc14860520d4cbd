"""Rounds of weight averaging within groups of equal architectures (McMahan et al. 2017, algorithm 1).

Also the parts that all methods with rounds share: participants, local settings, traffic, validation accuracy.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import exp
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.config import RoundsConfig
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.federation import MILLINATS, Federation, FitJob
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.methods.merging import merged
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State
from mosaic_fl.storage.journal import Journal, Stage, round_name
from mosaic_fl.training.monitor import Monitor

States = dict[str, State]
"""Weights by architecture."""


def averaging_rounds(
    federation: Federation,
    groups: Mapping[int, str],
    states: States,
    rounds: range,
    config: RoundsConfig,
    seed: int,
    journal: Journal,
    settings: Mapping[str, Any] | None = None,
) -> States:
    """In each of `rounds`, a share of the clients trains; each architecture is then merged of its clients' weights.

    `groups` gives the architecture of each client, `states` the first weights of each architecture. An architecture
    keeps its weights in a round in which none of its clients answers. Each round is a stage of `journal`; the stage
    lists the clients that answered and logs the accuracy on the validation splits of each group. `settings` are
    changes to the local training. Returns the weights after the last round.
    """
    local = local_settings(config) | dict(settings or {})

    def train_round(previous: Stage, round: int, monitor: Monitor) -> tuple[State, dict[str, Any]]:
        weights = unflatten(previous.tensors)
        figures = dict[str, float]()
        cohort = participants(list(groups), config.participation, seed, round)
        fitted = federation.fit([FitJob(k, groups[k], weights[groups[k]], local) for k in cohort], round)
        for architecture in states:
            updates = [f for f in fitted if groups[f.client] == architecture]
            if updates:
                weights[architecture] = merged(updates, weights[architecture], config)
            members = [client for client, group in groups.items() if group == architecture]
            confusions = federation.evaluate(architecture, weights[architecture], members)
            figures |= validation_figures(confusions, f"validation_accuracy {architecture}")
        monitor.log(round, **figures)
        return flatten(weights), {"participants": [f.client for f in fitted]}

    return unflatten(journal.rounds(rounds, Stage(flatten(states)), train_round).tensors)


def shared_architecture(architectures: Sequence[str], method: str, instead: str = "use --method mosaic") -> str:
    """The one architecture of all clients, whose weights `method` averages.

    Raises UsageError where there are several; `instead` is its second way out, beside one architecture for all.
    """
    kinds = sorted(set(architectures))
    if len(kinds) > 1:
        raise UsageError(
            f"{method} averages weights, so all clients need one architecture, not {', '.join(kinds)}: "
            f"say --models {kinds[0]}, or {instead}"
        )
    return kinds[0]


def local_settings(config: RoundsConfig, several_widths: bool = False) -> dict[str, Any]:
    """Changes to local training in rounds: a fixed number of steps, if one is set, and the rounds' own optimiser.

    Where whole models are averaged, SGD is far better than Adam, whose steps have one length in every weight and drive
    the clients apart. These methods were published with SGD. Where sub-models of `several_widths` are merged, SGD is
    far worse: one rate does not suit all widths, and Adam's steps do. Measured: docs/notes/baselines.md.
    """
    steps = {"min_steps": config.steps, "max_steps": config.steps} if config.steps else {}
    kind = ("train" if several_widths else "sgd") if config.optimiser == "auto" else config.optimiser
    return steps if kind == "train" else {**steps, "optimiser": kind, "lr": config.lr}


def participants(clients: Sequence[int], share: float, seed: int, round: int) -> list[int]:
    """A random `share` of the clients, at least one, new in each round; in increasing order."""
    count = max(1, round_half_up(share * len(clients)))
    positions = torch.randperm(len(clients), generator=Stream(seed, "participants", round=round).torch())[:count]
    return sorted(clients[i] for i in positions.tolist())


def round_half_up(value: float) -> int:
    """The nearest whole number, halves upwards."""
    return int(value + 0.5)


def traffic(sizes: Mapping[int, int], rounds: range, journal: Journal) -> list[int]:
    """Bytes that each client sent in `rounds`, and received: `sizes[client]` for each round that it answered.

    `sizes` has an entry for each client.
    """
    stages = [round_name(round) for round in rounds]
    return [sizes[client] * times for client, times in enumerate(answers(len(sizes), stages, journal))]


def answers(clients: int, stages: Sequence[str], journal: Journal) -> list[int]:
    """In how many of `stages` each of `clients` clients answered, by the `participants` of these stages."""
    records = [stage for name in stages if (stage := journal.recall(name))]
    times = Counter(client for stage in records for client in stage.info.get("participants", ()))
    return [times[client] for client in range(clients)]


def packed_sizes(groups: Mapping[int, str], states: States, schema: Schema) -> dict[int, int]:
    """Bytes of the weights that each client trains, packed for transport."""
    sizes = {name: len(GlobalModel(name, schema, state).to_bytes()) for name, state in states.items()}
    return {client: sizes[name] for client, name in groups.items()}


def validation_accuracy(confusions: Sequence[Tensor]) -> float | None:
    """Share of all clients' validation samples that are classified correctly; None where there are no samples."""
    right = sum(int(confusion.diagonal().sum()) for confusion in confusions)
    samples = sum(int(confusion.sum()) for confusion in confusions)
    return right / samples if samples else None


def probability_of_truth(tables: Sequence[Tensor]) -> float | None:
    """exp(−mean log-loss) over all samples, 0..1: the geometric mean of the true classes' probabilities; None without.

    `tables` are those of `Federation.evaluate` with losses. Of rows it judges better than the accuracy does: where one
    class is rare, all models have nearly the same accuracy.
    """
    samples, loss = (sum(int(table[:, column].sum()) for table in tables) for column in (0, 1))
    return exp(-loss / MILLINATS / samples) if samples else None


def validation_figures(confusions: Sequence[Tensor], name: str = "validation_accuracy") -> dict[str, float]:
    """The validation figures that a round logs: {`name`: accuracy}, or {} where no client measured it."""
    accuracy = validation_accuracy(confusions)
    return {} if accuracy is None else {name: accuracy}


def flatten(states: States) -> State:
    """All tensors by "name/key", the form in which a stage stores them."""
    return {f"{name}/{key}": tensor for name, state in states.items() for key, tensor in state.items()}


def unflatten(tensors: State) -> States:
    """The inverse of `flatten`."""
    states: States = {}
    for path, tensor in tensors.items():
        name, _, key = path.rpartition("/")
        states.setdefault(name, {})[key] = tensor
    return states
