"""Federated averaging (McMahan et al. 2017, algorithm 1, every client in every round)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mosaic_fl.config import Config
from mosaic_fl.errors import UsageError
from mosaic_fl.federation import Federation, FitJob, Fitted, State
from mosaic_fl.global_model import GlobalModel
from mosaic_fl.journal import Journal
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.models import build
from mosaic_fl.monitor import Monitor
from mosaic_fl.optimisation import copy_state
from mosaic_fl.randomness import Stream


def fedavg(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """`config.fedavg.rounds` rounds of: all clients train from the global weights; the server averages them by samples.

    The model of the last round is the result. Raises UsageError where the clients' architectures differ.
    """
    architecture = shared_architecture(federation.architectures)
    clients = range(len(federation.architectures))
    with Stream(config.run.seed, "fedavg-init").ambient():
        state = copy_state(build(architecture, federation.schema))
    for round in range(config.fedavg.rounds):

        def one_round(monitor: Monitor, state: State = state, round: int = round) -> tuple[State, dict[str, float]]:
            fitted = federation.fit([FitJob(k, architecture, state) for k in clients], round)
            average = weighted_average(fitted)
            accuracy = validation_accuracy(federation.evaluate(architecture, average))
            monitor.log(round, validation_accuracy=accuracy)
            return average, {"validation_accuracy": accuracy}

        state = journal.stage(f"round-{round:04d}", one_round).tensors
    model = GlobalModel(architecture, federation.schema, state)
    traffic = [len(model.to_bytes()) * config.fedavg.rounds] * len(clients)
    return Outcome(model, bytes_up=traffic, bytes_down=traffic)


def shared_architecture(architectures: Sequence[str]) -> str:
    """The one architecture of all clients; raises UsageError where there are several."""
    kinds = sorted(set(architectures))
    if len(kinds) > 1:
        raise UsageError(
            f"fedavg averages weights, so all clients need one architecture, not {', '.join(kinds)}: "
            f"say --models {kinds[0]}, or use --method mosaic"
        )
    return kinds[0]


def weighted_average(fitted: Sequence[Fitted]) -> State:
    """Σ_k n_k/n · θ_k over all tensors, batch-norm statistics included; whole-number buffers are the largest."""
    total = sum(f.samples for f in fitted)

    def merge(name: str, first: Tensor) -> Tensor:
        if not first.is_floating_point():
            return torch.stack([f.state[name] for f in fitted]).amax(0)
        return torch.stack([f.state[name].double() * (f.samples / total) for f in fitted]).sum(0).to(first.dtype)

    return {name: merge(name, tensor) for name, tensor in fitted[0].state.items()}


def validation_accuracy(confusions: Sequence[Tensor]) -> float:
    """Share of all clients' validation samples that are classified rightly; 0 where there are none."""
    if not confusions:
        return 0.0
    total = torch.stack(list(confusions)).sum(0)
    return float(total.diagonal().sum() / total.sum().clamp(min=1))
