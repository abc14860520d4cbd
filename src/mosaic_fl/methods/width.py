"""Partial training: clients train sub-models of one architecture at the widths they can afford.

HeteroFL (Diao, Ding, Tarokh 2021, arXiv 2010.01264, algorithm 1) and FedRolex (Alam, Liu, Yan, Zhang 2022,
arXiv 2212.01548, algorithm 1). They differ in the channels that a client gets; see `models.submodel`.

Both train with HeteroFL's masked cross-entropy (`rounds.masked`) and end with its static batch norm: the statistics of
sub-models say little about those of the full model, so the clients measure these once more. Each row of the last layer
is merged over the clients that have samples of its class. HeteroFL's scaler (activations · 1/ratio while training) is
left out, because the batch norm behind every layer would undo it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from mosaic_fl.config import Config, RoundsConfig
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.federation import Federation, FitJob, Fitted
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.methods.averaging import (
    answers,
    local_settings,
    participants,
    shared_architecture,
    traffic,
    validation_figures,
)
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.methods.sending import with_result
from mosaic_fl.models import build
from mosaic_fl.models.submodel import Windows, extract, indices, merge
from mosaic_fl.models.width import RATIOS, Ratio, narrow
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State, copy_state, weighted_sum
from mosaic_fl.storage import container
from mosaic_fl.storage.journal import Journal, Stage
from mosaic_fl.training.monitor import Monitor


def heterofl(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """HeteroFL: in every round a client trains the first channels, at its ratio of `config.models.ratios` in turn."""
    return partial_training(federation, config, journal, rolling=False)


def fedrolex(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """FedRolex: as HeteroFL, but the window of channels moves by one in every round."""
    return partial_training(federation, config, journal, rolling=True)


def partial_training(federation: Federation, config: Config, journal: Journal, *, rolling: bool) -> Outcome:
    """`config.rounds.warm_up` rounds, at least one; the full model of the last round is the result.

    The full model has the clients' architecture. Raises UsageError where the clients' architectures differ, where there
    are no sub-models of it, and for a wrong ratio.
    """
    architecture = shared_architecture(federation.architectures, "fedrolex" if rolling else "heterofl")
    ratios = assign(architecture, config.models.ratios, len(federation.architectures))
    rounds = range(max(1, config.rounds.warm_up))
    with Stream(config.run.seed, "fedavg-init").ambient():  # FedAvg's start, so that methods compare
        state = copy_state(build(architecture, federation.schema))
    state = partial_rounds(
        federation, architecture, ratios, state, rounds, config.rounds, config.run.seed, journal, rolling=rolling
    )
    state = static_batch_norm(federation, architecture, state, "statistics", journal)
    round_bytes = traffic(partial_sizes(architecture, ratios, state, federation.schema), rounds, journal)
    up, down = with_statistics(round_bytes, architecture, state, federation.schema, ["statistics"], journal)
    model = GlobalModel(architecture, federation.schema, state)
    return Outcome(model, up, with_result(down, model))


def partial_rounds(
    federation: Federation,
    architecture: str,
    ratios: Mapping[int, Ratio],
    state: State,
    rounds: range,
    config: RoundsConfig,
    seed: int,
    journal: Journal,
    settings: Mapping[str, Any] | None = None,
    *,
    rolling: bool,
) -> State:
    """In each of `rounds`, a share of the clients trains its part of `state`, the weights of `architecture`.

    `ratios` gives each client's width ratio. Each round is a stage of `journal`; the stage lists the clients that
    answered and logs the full model's accuracy on the validation splits of all clients. `settings` are changes to the
    local training.
    """
    several_widths = len(set(ratios.values())) > 1
    local = local_settings(config, several_widths) | ({"absent": 0.0} if config.masked else {}) | dict(settings or {})

    def train_round(previous: Stage, round: int, monitor: Monitor) -> tuple[State, dict[str, Any]]:
        parts = {k: ratios[k] for k in participants(list(ratios), config.participation, seed, round)}
        roll = round if rolling else 0
        fitted, merged = train_parts(federation, architecture, parts, previous.tensors, round, roll, local)
        monitor.log(round, **validation_figures(federation.evaluate(architecture, merged)))
        return merged, {"participants": [f.client for f in fitted]}

    return journal.rounds(rounds, Stage(state), train_round).tensors


def train_parts(
    federation: Federation,
    architecture: str,
    ratios: Mapping[int, Ratio],
    state: State,
    round: int,
    roll: int,
    settings: Mapping[str, Any],
) -> tuple[list[Fitted], State]:
    """The clients of `ratios` train their parts of `state`, with windows moved by `roll`: (answers, merged weights).

    Each entry is the mean over the answers that have it, weighted by their training samples as in FedAvg; the papers'
    plain mean is the case of equal sizes. An entry that no answer has stays as it was. With every ratio 1 and no mask
    this is FedAvg.
    """
    widths = dict.fromkeys(ratios.values())
    windows = {ratio: indices(architecture, ratio, federation.schema, roll) for ratio in widths}
    parts = {ratio: extract(state, window) for ratio, window in windows.items()}
    jobs = [FitJob(k, narrow(architecture, ratio), parts[ratio], settings) for k, ratio in ratios.items()]
    fitted = federation.fit(jobs, round)
    masked = settings.get("absent") == 0
    updates = [(*class_rows(f, windows[ratios[f.client]], masked=masked), f.samples) for f in fitted]
    return fitted, merge(state, updates)


def class_rows(fitted: Fitted, windows: Windows, *, masked: bool) -> tuple[State, Windows]:
    """The answer's weights and windows; where `masked`, without the last layer's rows for classes its client lacks.

    Training with the mask did not change those rows. In the average they would slow the rows of other clients down.
    """
    rows = fitted.class_counts.nonzero().flatten()
    if not masked or len(rows) == len(fitted.class_counts):
        return fitted.state, windows
    head = {name for name in windows if name.startswith("head.")}
    state = {name: tensor[rows] if name in head else tensor for name, tensor in fitted.state.items()}
    return state, {name: (window[0][rows], *window[1:]) if name in head else window for name, window in windows.items()}


def static_batch_norm(federation: Federation, architecture: str, state: State, stage: str, journal: Journal) -> State:
    """`state` with the batch-norm statistics of the training data of all clients that answer.

    One exchange, the `stage` of `journal`. `state` does not change where it has no such statistics, or no client
    answers. With n_k samples at client k and n in all, μ = Σ n_k/n · μ_k and σ² = Σ n_k/n · (σ²_k + (μ_k − μ)²). These
    are the statistics of the pooled data, if the layer's inputs were normalised alike at all clients.
    """
    if not any(name.endswith("running_mean") for name in state):
        return state

    def measure(monitor: Monitor) -> tuple[State, dict[str, Any]]:
        replies = federation.statistics(architecture, state)
        info = {"participants": [a.client for a in replies]}
        replies = [a for a in replies if a.samples]
        if not replies:
            return {}, info
        total = sum(a.samples for a in replies)
        mean = weighted_sum([a.state for a in replies], [a.samples / total for a in replies])
        for name in (name for name in mean if name.endswith("running_mean")):
            variance_name = name.removesuffix("mean") + "var"
            between = [a.samples / total * (a.state[name] - mean[name]).square() for a in replies]
            mean[variance_name] = mean[variance_name] + torch.stack(between).sum(0)
        return mean, info

    return state | journal.stage(stage, measure).tensors


def with_statistics(
    round_bytes: Sequence[int], architecture: str, state: State, schema: Schema, stages: Sequence[str], journal: Journal
) -> tuple[list[int], list[int]]:
    """Bytes (up, down) a client: its `round_bytes` in both directions, and those of static batch norm.

    In each of the `stages` of static batch norm that a client answers, its statistics go up and the full model down.
    """
    statistics = {name: tensor for name, tensor in state.items() if "running_" in name}
    if not statistics:
        return list(round_bytes), list(round_bytes)
    up = len(container.pack("statistics", {}, statistics))
    down = len(GlobalModel(architecture, schema, state).to_bytes())
    exchanges = list(zip(round_bytes, answers(len(round_bytes), stages, journal), strict=True))
    bytes_up = [size + times * up for size, times in exchanges]
    bytes_down = [size + times * down for size, times in exchanges]
    return bytes_up, bytes_down


def partial_sizes(architecture: str, ratios: Mapping[int, Ratio], state: State, schema: Schema) -> dict[int, int]:
    """Bytes of the sub-model that each client trains, packed for transport."""
    sizes = {}
    for ratio in dict.fromkeys(ratios.values()):
        part = extract(state, indices(architecture, ratio, schema))
        sizes[ratio] = len(GlobalModel(narrow(architecture, ratio), schema, part).to_bytes())
    return {client: sizes[ratio] for client, ratio in ratios.items()}


def assign(architecture: str, ratios: Sequence[Ratio], clients: int) -> dict[int, Ratio]:
    """The width ratio of each client: `ratios` in turn.

    Raises UsageError where there are no ratios, or where `architecture` has no sub-model of one of them.
    """
    if not ratios:
        raise UsageError(f"no width ratios: give some of {', '.join(map(str, RATIOS))}")
    for ratio in ratios:
        narrow(architecture, ratio)
    return {client: ratios[client % len(ratios)] for client in range(clients)}


def check_ratios(config: Config, schema: Schema, models: Sequence[str], student: str) -> None:
    """Raise UsageError where the architecture has no sub-models of `config.models.ratios`."""
    assign(student, config.models.ratios, config.partition.clients)
