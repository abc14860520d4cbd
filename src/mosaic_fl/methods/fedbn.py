"""FedBN (Li, Jiang, Zhang, Kamp, Dou 2021, arXiv 2102.07623, algorithm 1).

FedAvg of all entries except those of normalisation layers, whose weights and statistics stay at each client. The paper
has batch norm alone. Here group, layer, instance and RMS norm belong to it, too; the type of a layer decides.

The method is personal: client k's model is the shared part with its own normalisation, and the paper names no model to
serve to others. Here ONE model serves, and every figure measures it: its normalisation entries are the mean of the
clients' entries by training samples. A client that is absent in a round counts with its latest entries. Clients that
never answered do not count.

In this simulation our clients store nothing, so the server returns to each its own entries at the beginning of a round.
On a network they would stay at the client. So only the shared part counts as traffic in a round, and in the end each
client's own entries once, for the mean.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from mosaic_fl.config import Config, RoundsConfig
from mosaic_fl.config.aggregation import fewest, liars_among
from mosaic_fl.exchange.federation import Federation, FitJob, Fitted
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.methods.averaging import (
    local_settings,
    packed_sizes,
    participants,
    shared_architecture,
    traffic,
    validation_figures,
)
from mosaic_fl.methods.merging import merged
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.methods.sending import with_result
from mosaic_fl.models import build
from mosaic_fl.numerics.aggregation import median
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State, copy_state, under
from mosaic_fl.storage import container
from mosaic_fl.storage.journal import Journal, Stage
from mosaic_fl.training.monitor import Monitor

NORMALISATION = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
    *(nn.GroupNorm, nn.LayerNorm, nn.RMSNorm),
)
# prefixes of the names of a round's tensors
SHARED = "shared/"
OWN = "client-{:03d}/"


def fedbn(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """`config.rounds.warm_up` rounds, at least one; serves the shared part with the clients' mean normalisation.

    For a model without normalisation layers this is FedAvg. Raises UsageError where the clients' architectures differ.
    """
    architecture = shared_architecture(federation.architectures, "fedbn")
    seed = config.run.seed
    clients = range(len(federation.architectures))
    rounds = range(max(1, config.rounds.warm_up))
    with Stream(seed, "fedavg-init").ambient():  # FedAvg's start, so that methods compare
        model = build(architecture, federation.schema)
    own_names = normalisation_entries(model)
    shared, first_own = split_state(copy_state(model), own_names)

    def train_round(previous: Stage, round: int, monitor: Monitor) -> tuple[State, dict[str, Any]]:
        shared, own, samples = from_stage(previous)
        cohort = participants(clients, config.rounds.participation, seed, round)
        local = local_settings(config.rounds)
        fitted = federation.fit([FitJob(k, architecture, shared | own[k], local) for k in cohort], round)
        answers = [replace(f, state=split_state(f.state, own_names)[0]) for f in fitted]
        shared = merged(answers, shared, config.rounds)
        own |= {f.client: split_state(f.state, own_names)[1] for f in fitted}
        samples |= {f.client: f.samples for f in fitted}
        confusions = federation.evaluate(architecture, shared | merged_normalisation(own, samples, config.rounds))
        monitor.log(round, **validation_figures(confusions))
        stage = to_stage(shared, own, samples)
        return stage.tensors, {"participants": [f.client for f in fitted], **stage.info}

    start = to_stage(shared, dict.fromkeys(clients, first_own), dict.fromkeys(clients, 0))
    shared, own, samples = from_stage(journal.rounds(rounds, start, train_round))
    state = shared | merged_normalisation(own, samples, config.rounds)
    groups = dict.fromkeys(clients, architecture)
    round_bytes = traffic(packed_sizes(groups, {architecture: shared}, federation.schema), rounds, journal)
    own_bytes = len(container.pack("normalisation", {}, own[0]))  # in the end, from each client that has trained
    up = [size + own_bytes * bool(samples[client] and own[client]) for client, size in enumerate(round_bytes)]
    result = GlobalModel(architecture, federation.schema, state)
    return Outcome(result, up, with_result(round_bytes, result))


def normalisation_entries(model: nn.Module) -> set[str]:
    """The names of all weights, statistics and counters of normalisation layers in `model`'s state."""
    layers = {name: module for name, module in model.named_modules() if isinstance(module, NORMALISATION)}
    return {f"{name}.{key}" for name, module in layers.items() for key in module.state_dict()}


def split_state(state: State, own_names: set[str]) -> tuple[State, State]:
    """`state` as (the shared part, the part with `own_names`, which stays at the client)."""
    shared = {name: tensor for name, tensor in state.items() if name not in own_names}
    own = {name: tensor for name, tensor in state.items() if name in own_names}
    return shared, own


def merged_normalisation(own: dict[int, State], samples: dict[int, int], rounds: RoundsConfig) -> State:
    """The mean of the clients' `own` entries by `samples`, or what the rule of `rounds` makes of them.

    A client with 0 samples has not answered yet. Where too few have for the rule, it is the median of each entry.
    """
    answers = [Fitted(k, own[k], samples[k], {}) for k in own if samples[k]]
    if rounds.aggregate != "mean" and len(answers) < fewest(rounds.aggregate, liars_among(len(answers), rounds.liars)):
        return median([f.state for f in answers], (), 0)
    return merged(answers, {}, rounds)


def to_stage(shared: State, own: dict[int, State], samples: dict[int, int]) -> Stage:
    """A round's stage: the `shared` part, each client's `own` entries, and the number of its training `samples`."""
    tensors = {SHARED + name: tensor for name, tensor in shared.items()}
    for client, state in own.items():
        tensors |= {OWN.format(client) + name: tensor for name, tensor in state.items()}
    return Stage(tensors, {"samples": list(samples.values())})


def from_stage(stage: Stage) -> tuple[State, dict[int, State], dict[int, int]]:
    """The inverse of `to_stage`: (shared, own, samples), for clients 0, 1, … in this order."""
    samples = dict(enumerate(stage.info["samples"]))
    own = {client: under(OWN.format(client), stage.tensors) for client in samples}
    return under(SHARED, stage.tensors), own, samples
