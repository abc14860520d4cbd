"""FedBN (Li, Jiang, Zhang, Kamp, Dou 2021, arXiv 2102.07623, algorithm 1).

FedAvg of everything but the normalisation layers, whose weights and statistics each client keeps to itself. The paper
has batch norm alone; here group, layer, instance and RMS norm count too, all found by the type of the layer.

The method is personal: client k's model is the shared part with its own normalisation, and nothing in it says what to
serve to anybody else. What is served here, and so what every figure measures, is ONE model, whose normalisation
entries are the mean of the clients' by training samples. A client that is away in a round keeps, and counts with, what
it had; clients that never answered have no say in it.

In this simulation the server hands each client its own entries back at the beginning of a round, since our clients keep
nothing. On a network they would stay at the client: only the shared part counts as traffic, and once in the end what
the mean is made of.
"""

from typing import Any

import torch
from torch import nn

from mosaic_fl.config import Config
from mosaic_fl.exchange.federation import Federation, FitJob
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.methods.averaging import (
    local_settings,
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
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State, copy_state, under, weighted_sum
from mosaic_fl.storage import container
from mosaic_fl.storage.journal import Journal, Stage
from mosaic_fl.training.monitor import Monitor

NORMALISATION = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
    *(nn.GroupNorm, nn.LayerNorm, nn.RMSNorm),
)
# begin the names of what a round keeps
SHARED = "shared/"
OWN = "client-{:03d}/"


def fedbn(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """`config.rounds.warm_up` rounds, at least one; serves the shared part with the clients' mean normalisation.

    Without a normalisation layer this is FedAvg. Raises UsageError where the clients' architectures differ.
    """
    architecture = shared_architecture(federation.architectures, "fedbn")
    seed = config.run.seed
    clients = range(len(federation.architectures))
    rounds = range(max(1, config.rounds.warm_up))
    with Stream(seed, "fedavg-init").ambient():  # FedAvg's start, so that methods compare
        model = build(architecture, federation.schema)
    at_client = normalisation_entries(model)
    shared, first = part(copy_state(model), at_client)

    def one_round(before: Stage, round: int, monitor: Monitor) -> tuple[State, dict[str, Any]]:
        shared, own, samples = unpacked(before)
        asked = participants(clients, config.rounds.participation, seed, round)
        local = local_settings(config.rounds)
        fitted = federation.fit([FitJob(k, architecture, shared | own[k], local) for k in asked], round)
        shared = part(weighted_average(fitted), at_client)[0]
        own |= {f.client: part(f.state, at_client)[1] for f in fitted}
        samples |= {f.client: f.samples for f in fitted}
        confusions = federation.evaluate(architecture, shared | mean_normalisation(own, samples))
        monitor.log(round, **validation_figures(confusions))
        kept = packed(shared, own, samples)
        return kept.tensors, {"participants": [f.client for f in fitted], **kept.info}

    begun = packed(shared, dict.fromkeys(clients, first), dict.fromkeys(clients, 0))
    shared, own, samples = unpacked(journal.rounds(rounds, begun, one_round))
    state = shared | mean_normalisation(own, samples)
    groups = dict.fromkeys(clients, architecture)
    sent = traffic(packed_sizes(groups, {architecture: shared}, federation.schema), rounds, journal)
    kept = len(container.pack("normalisation", {}, own[0]))  # for the mean it goes up in the end, from who has trained
    up = [size + kept * bool(samples[client] and own[client]) for client, size in enumerate(sent)]
    served = GlobalModel(architecture, federation.schema, state)
    return Outcome(served, up, delivered(sent, served))


def normalisation_entries(model: nn.Module) -> set[str]:
    """The names in `model`'s state of what its normalisation layers own: weights, statistics and counters."""
    layers = {name: module for name, module in model.named_modules() if isinstance(module, NORMALISATION)}
    return {f"{name}.{key}" for name, module in layers.items() for key in module.state_dict()}


def part(state: State, at_client: set[str]) -> tuple[State, State]:
    """`state` as (what is shared, what stays at the client)."""
    shared = {name: tensor for name, tensor in state.items() if name not in at_client}
    return shared, {name: tensor for name, tensor in state.items() if name in at_client}


def mean_normalisation(own: dict[int, State], samples: dict[int, int]) -> State:
    """The mean by `samples` of the clients' `own` entries; a client with 0 of them has not answered yet."""
    known = [k for k in own if samples[k]]
    total = sum(samples[k] for k in known)
    return weighted_sum([own[k] for k in known], [samples[k] / total for k in known])


def packed(shared: State, own: dict[int, State], samples: dict[int, int]) -> Stage:
    """What the server knows after a round: the `shared` part, each client's `own`, and how much each has trained on."""
    tensors = {SHARED + name: tensor for name, tensor in shared.items()}
    for client, state in own.items():
        tensors |= {OWN.format(client) + name: tensor for name, tensor in state.items()}
    return Stage(tensors, {"samples": list(samples.values())})


def unpacked(stage: Stage) -> tuple[State, dict[int, State], dict[int, int]]:
    """The inverse of `packed`, for clients 0, 1, … in this order."""
    samples = dict(enumerate(stage.info["samples"]))
    own = {client: under(OWN.format(client), stage.tensors) for client in samples}
    return under(SHARED, stage.tensors), own, samples
