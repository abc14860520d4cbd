"""Rounds of weight averaging within groups of equal architectures (McMahan et al. 2017, algorithm 1)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.config import RoundsConfig
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.federation import Federation, FitJob, Fitted
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State, weighted_sum
from mosaic_fl.storage.journal import Journal, Stage, round_name
from mosaic_fl.training.monitor import Monitor

States = dict[str, State]
"""One set of weights an architecture."""


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
    """In each of `rounds`, a share of the clients trains; each architecture becomes its clients' average by samples.

    `groups` says which architecture each client trains, `states` where each begins; an architecture none of whose
    clients answers in a round stays as it was. Each round is a stage of `journal`, which says who answered, and logs
    the accuracy on the validation splits of its group's clients. `settings` are changes to the local training.
    """
    local = local_settings(config) | dict(settings or {})

    def one_round(before: Stage, round: int, monitor: Monitor) -> tuple[State, dict[str, Any]]:
        merged = nested(before.tensors)
        figures = dict[str, float]()
        asked = participants(list(groups), config.participation, seed, round)
        fitted = federation.fit([FitJob(k, groups[k], merged[groups[k]], local) for k in asked], round)
        for architecture in states:
            ours = [f for f in fitted if groups[f.client] == architecture]
            if ours:
                merged[architecture] = weighted_average(ours)
            mine = [client for client, group in groups.items() if group == architecture]
            confusions = federation.evaluate(architecture, merged[architecture], mine)
            figures |= validation_figures(confusions, f"validation_accuracy {architecture}")
        monitor.log(round, **figures)
        return flat(merged), {"participants": [f.client for f in fitted]}

    return nested(journal.rounds(rounds, Stage(flat(states)), one_round).tensors)


def shared_architecture(architectures: Sequence[str], method: str, instead: str = "use --method mosaic") -> str:
    """The one architecture of all clients, whose weights `method` averages; UsageError where there are several.

    `instead` is what else the user can do than give all clients one.
    """
    kinds = sorted(set(architectures))
    if len(kinds) > 1:
        raise UsageError(
            f"{method} averages weights, so all clients need one architecture, not {', '.join(kinds)}: "
            f"say --models {kinds[0]}, or {instead}"
        )
    return kinds[0]


def local_settings(config: RoundsConfig, several_widths: bool = False) -> dict[str, Any]:
    """Changes to local training in rounds: a fixed number of steps, where one is set, and the rounds' own optimiser.

    Where whole models are averaged and trained on, Adam's steps of one length in every weight drive the clients apart.
    SGD, with which these methods were published, is far better. Where sub-models of `several_widths` are merged it
    is far worse: one rate does not suit all of them, and Adam's steps do. Measured: docs/notes/baselines.md.
    """
    steps = {"min_steps": config.steps, "max_steps": config.steps} if config.steps else {}
    kind = ("train" if several_widths else "sgd") if config.optimiser == "auto" else config.optimiser
    return steps if kind == "train" else {**steps, "optimiser": kind, "lr": config.lr}


def participants(clients: Sequence[int], share: float, seed: int, round: int) -> list[int]:
    """`share` of the clients, at least one, drawn anew in each round; in increasing order."""
    count = max(1, round_half_up(share * len(clients)))
    drawn = torch.randperm(len(clients), generator=Stream(seed, "participants", round=round).torch())[:count]
    return sorted(clients[i] for i in drawn.tolist())


def round_half_up(value: float) -> int:
    """The nearest whole number, halves upwards."""
    return int(value + 0.5)


def traffic(sizes: Mapping[int, int], rounds: range, journal: Journal) -> list[int]:
    """Bytes that each client sent in `rounds`, and was sent: `sizes[client]` each time that it answered.

    `sizes` has all clients.
    """
    stages = [round_name(round) for round in rounds]
    return [sizes[client] * times for client, times in enumerate(answers(len(sizes), stages, journal))]


def answers(clients: int, stages: Sequence[str], journal: Journal) -> list[int]:
    """In how many of `stages` each of `clients` clients answered, by the `participants` that these name."""
    found = [stage for name in stages if (stage := journal.recall(name))]
    times = Counter(client for stage in found for client in stage.info.get("participants", ()))
    return [times[client] for client in range(clients)]


def packed_sizes(groups: Mapping[int, str], states: States, schema: Schema) -> dict[int, int]:
    """Bytes of the weights that each client trains, packed as they travel."""
    sizes = {name: len(GlobalModel(name, schema, state).to_bytes()) for name, state in states.items()}
    return {client: sizes[name] for client, name in groups.items()}


def weighted_average(fitted: Sequence[Fitted]) -> State:
    """Σ_k n_k/n · θ_k, by the clients' training samples."""
    total = sum(f.samples for f in fitted)
    return weighted_sum([f.state for f in fitted], [f.samples / total for f in fitted])


def validation_accuracy(confusions: Sequence[Tensor]) -> float | None:
    """Share of all clients' validation samples that are classified rightly; None where there are none."""
    right = sum(int(confusion.diagonal().sum()) for confusion in confusions)
    samples = sum(int(confusion.sum()) for confusion in confusions)
    return right / samples if samples else None


def validation_figures(confusions: Sequence[Tensor], name: str = "validation_accuracy") -> dict[str, float]:
    """What a round logs of the validation: the accuracy by `name`, or nothing where nobody measured it."""
    accuracy = validation_accuracy(confusions)
    return {} if accuracy is None else {name: accuracy}


def flat(states: States) -> State:
    """All tensors under "name/key", as a stage keeps them."""
    return {f"{name}/{key}": tensor for name, state in states.items() for key, tensor in state.items()}


def nested(tensors: State) -> States:
    """The inverse of `flat`."""
    states: States = {}
    for path, tensor in tensors.items():
        name, _, key = path.rpartition("/")
        states.setdefault(name, {})[key] = tensor
    return states
