"""Federated averaging (McMahan et al. 2017, algorithm 1) of clients that share one architecture."""

from collections.abc import Mapping
from typing import Any

import torch

from mosaic_fl.config import Config
from mosaic_fl.exchange.federation import Federation
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.methods.averaging import averaging_rounds, packed_sizes, shared_architecture, traffic
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.methods.sending import with_result
from mosaic_fl.models import build
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.storage.journal import Journal


def fedavg(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """`config.rounds.warm_up` rounds, at least one; the model of the last round is the result.

    Raises UsageError where the clients' architectures differ.
    """
    return averaged_model(federation, config, journal, "fedavg")


def averaged_model(
    federation: Federation, config: Config, journal: Journal, method: str, settings: Mapping[str, Any] | None = None
) -> Outcome:
    """FedAvg under the name `method`; `settings` are its changes to the local training. See `fedavg`."""
    architecture = shared_architecture(federation.architectures, method)
    groups = dict.fromkeys(range(len(federation.architectures)), architecture)
    rounds = range(max(1, config.rounds.warm_up))
    with Stream(config.run.seed, "fedavg-init").ambient():
        start = {architecture: copy_state(build(architecture, federation.schema))}
    states = averaging_rounds(federation, groups, start, rounds, config.rounds, config.run.seed, journal, settings)
    round_bytes = traffic(packed_sizes(groups, states, federation.schema), rounds, journal)
    model = GlobalModel(architecture, federation.schema, states[architecture])
    return Outcome(model, round_bytes, with_result(round_bytes, model))
