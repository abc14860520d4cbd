"""Partial training: clients train sub-models of one architecture at the widths they can afford.

HeteroFL (Diao, Ding, Tarokh 2021, arXiv 2010.01264, algorithm 1) and FedRolex (Alam, Liu, Yan, Zhang 2022,
arXiv 2212.01548, algorithm 1). They differ in which channels a client gets; see `models.submodel`.

Both train with HeteroFL's masked cross-entropy (`rounds.masked`) and end with its static batch norm: sub-models'
statistics say little about the full model's, so the clients measure those once more. Of the last layer each row is
merged over the clients that hold its class. Left out is HeteroFL's scaler (activations · 1/ratio while training), which
the batch norm behind every layer would undo.
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
from mosaic_fl.methods.sending import delivered
from mosaic_fl.models import build
from mosaic_fl.models.submodel import Windows, extract, indices, merge
from mosaic_fl.models.width import RATIOS, Ratio, narrow
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State, copy_state, weighted_sum
from mosaic_fl.storage import container
from mosaic_fl.storage.journal import Journal, Stage
from mosaic_fl.training.monitor import Monitor


def heterofl(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """HeteroFL: client k has the first channels, at width ratio `config.models.ratios[k mod ...]`, in every round."""
    return partial_training(federation, config, journal, rolling=False)


def fedrolex(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """FedRolex: as HeteroFL, but the window of channels moves on by one every round."""
    return partial_training(federation, config, journal, rolling=True)


def partial_training(federation: Federation, config: Config, journal: Journal, *, rolling: bool) -> Outcome:
    """`config.rounds.warm_up` rounds, at least one; the full model of the last round is the result.

    The clients' architecture is the full model's. Raises UsageError where they differ or it cannot be cut, and for a
    wrong ratio.
    """
    architecture = shared_architecture(federation.architectures, "fedrolex" if rolling else "heterofl")
    held = assign(architecture, config.models.ratios, len(federation.architectures))
    rounds = range(max(1, config.rounds.warm_up))
    with Stream(config.run.seed, "fedavg-init").ambient():  # FedAvg's start, so that methods compare
        state = copy_state(build(architecture, federation.schema))
    state = partial_rounds(
        federation, architecture, held, state, rounds, config.rounds, config.run.seed, journal, rolling=rolling
    )
    state = static_batch_norm(federation, architecture, state, "statistics", journal)
    sent = traffic(partial_sizes(architecture, held, state, federation.schema), rounds, journal)
    up, down = with_statistics(sent, architecture, state, federation.schema, ["statistics"], journal)
    model = GlobalModel(architecture, federation.schema, state)
    return Outcome(model, up, delivered(down, model))


def partial_rounds(
    federation: Federation,
    architecture: str,
    held: Mapping[int, Ratio],
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

    `held` gives each client's width ratio. Each round is a stage of `journal`, which says who answered, and logs the
    full model's accuracy on the validation splits of all clients. `settings` are changes to the local training.
    """
    several = len(set(held.values())) > 1
    local = local_settings(config, several) | ({"absent": 0.0} if config.masked else {}) | dict(settings or {})

    def one_round(before: Stage, round: int, monitor: Monitor) -> tuple[State, dict[str, Any]]:
        parts = {k: held[k] for k in participants(list(held), config.participation, seed, round)}
        roll = round if rolling else 0
        fitted, merged = train_parts(federation, architecture, parts, before.tensors, round, roll, local)
        monitor.log(round, **validation_figures(federation.evaluate(architecture, merged)))
        return merged, {"participants": [f.client for f in fitted]}

    return journal.rounds(rounds, Stage(state), one_round).tensors


def train_parts(
    federation: Federation,
    architecture: str,
    held: Mapping[int, Ratio],
    state: State,
    round: int,
    roll: int,
    settings: Mapping[str, Any],
) -> tuple[list[Fitted], State]:
    """The clients in `held` train their parts of `state`, whose windows have moved on by `roll`: (answers, merged).

    Each entry is the mean over the clients that hold it and answered, weighted by their training samples as in FedAvg;
    the papers' plain mean is the case of equal sizes. One that none of them holds stays as it was. With every ratio 1
    and no mask this is FedAvg.
    """
    windows = {ratio: indices(architecture, ratio, federation.schema, roll) for ratio in dict.fromkeys(held.values())}
    parts = {ratio: extract(state, window) for ratio, window in windows.items()}
    jobs = [FitJob(k, narrow(architecture, ratio), parts[ratio], settings) for k, ratio in held.items()]
    fitted = federation.fit(jobs, round)
    masked = settings.get("absent") == 0
    return fitted, merge(state, [(*held_rows(f, windows[held[f.client]], masked=masked), f.samples) for f in fitted])


def held_rows(fitted: Fitted, windows: Windows, *, masked: bool) -> tuple[State, Windows]:
    """The answer and its windows, where `masked` without the last layer's rows for classes that its client lacks.

    The mask left those rows where they were; averaged in, they would hold the others' back.
    """
    rows = fitted.class_counts.nonzero().flatten()
    if not masked or len(rows) == len(fitted.class_counts):
        return fitted.state, windows
    head = {name for name in windows if name.startswith("head.")}
    state = {name: tensor[rows] if name in head else tensor for name, tensor in fitted.state.items()}
    return state, {name: (window[0][rows], *window[1:]) if name in head else window for name, window in windows.items()}


def static_batch_norm(federation: Federation, architecture: str, state: State, stage: str, journal: Journal) -> State:
    """`state` with the batch-norm statistics of the training data of all clients that answer.

    It is as it was where it has none, or nobody answers. One exchange, the `stage` of `journal`. With n_k samples at
    client k and n in all, μ = Σ n_k/n · μ_k and σ² = Σ n_k/n · (σ²_k + (μ_k − μ)²): those of the pooled data, where the
    layer's inputs were normalised alike.
    """
    if not any(name.endswith("running_mean") for name in state):
        return state

    def measure(monitor: Monitor) -> tuple[State, dict[str, Any]]:
        answered = federation.statistics(architecture, state)
        told = {"participants": [a.client for a in answered]}
        known = [a for a in answered if a.samples]
        if not known:
            return {}, told
        total = sum(a.samples for a in known)
        mean = weighted_sum([a.state for a in known], [a.samples / total for a in known])
        for name in (name for name in mean if name.endswith("running_mean")):
            of_variance = name.removesuffix("mean") + "var"
            between = [a.samples / total * (a.state[name] - mean[name]).square() for a in known]
            mean[of_variance] = mean[of_variance] + torch.stack(between).sum(0)
        return mean, told

    return state | journal.stage(stage, measure).tensors


def with_statistics(
    sent: Sequence[int], architecture: str, state: State, schema: Schema, stages: Sequence[str], journal: Journal
) -> tuple[list[int], list[int]]:
    """Bytes (up, down) a client: `sent` both ways, and those of static batch norm.

    For each of its `stages` in which a client answered these are its statistics up, the full model down.
    """
    found = {name: tensor for name, tensor in state.items() if "running_" in name}
    if not found:
        return list(sent), list(sent)
    up = len(container.pack("statistics", {}, found))
    down = len(GlobalModel(architecture, schema, state).to_bytes())
    exchanges = list(zip(sent, answers(len(sent), stages, journal), strict=True))
    return [size + times * up for size, times in exchanges], [size + times * down for size, times in exchanges]


def partial_sizes(architecture: str, held: Mapping[int, Ratio], state: State, schema: Schema) -> dict[int, int]:
    """Bytes of the sub-model that each client trains, packed as it travels."""
    sizes = {}
    for ratio in dict.fromkeys(held.values()):
        part = extract(state, indices(architecture, ratio, schema))
        sizes[ratio] = len(GlobalModel(narrow(architecture, ratio), schema, part).to_bytes())
    return {client: sizes[ratio] for client, ratio in held.items()}


def assign(architecture: str, ratios: Sequence[Ratio], clients: int) -> dict[int, Ratio]:
    """The width ratio of each client: `ratios` in turn.

    Raises UsageError where there are none, or `architecture` has no sub-model of one of them.
    """
    if not ratios:
        raise UsageError(f"no width ratios: give some of {', '.join(map(str, RATIOS))}")
    for ratio in ratios:
        narrow(architecture, ratio)
    return {client: ratios[client % len(ratios)] for client in range(clients)}


def check_ratios(config: Config, schema: Schema, models: Sequence[str], student: str) -> None:
    """Raises UsageError where the architecture cannot be cut as `config.models.ratios` say."""
    assign(student, config.models.ratios, config.partition.clients)
