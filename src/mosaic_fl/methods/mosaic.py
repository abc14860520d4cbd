"""Mosaic (arXiv 2505.19699), with the lessons of our feasibility study.

0. Optionally, rounds of averaging give the clients a common start: inside each group of equal architectures, or, where
   clients hold different widths of one architecture, by HeteroFL or FedRolex.
1. Every client trains its own classifier and a generator of synthetic samples; only those leave it.
2. The server gates the experts by what each knows and learns to fuse their outputs.
3. It distils the fused teacher into one model on synthetic samples alone.
4. Optionally, rounds of averaging fine-tune that model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from mosaic_fl.config import Config
from mosaic_fl.domains.schema import Schema
from mosaic_fl.exchange.federation import Federation, Start
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.experts.capability import Capability
from mosaic_fl.experts.naming import require
from mosaic_fl.methods.averaging import (
    States,
    averaging_rounds,
    packed_sizes,
    shared_architecture,
    traffic,
    validation_accuracy,
)
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.methods.sending import of_each
from mosaic_fl.methods.width import assign, partial_rounds, partial_sizes, static_batch_norm, with_statistics
from mosaic_fl.models import build
from mosaic_fl.models.submodel import extract, indices
from mosaic_fl.models.width import narrow
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State, copy_state
from mosaic_fl.server.checks import check_distillation, check_transfer
from mosaic_fl.server.distill import distill
from mosaic_fl.storage.journal import Journal

BY_GROUP = "say rounds.kind = fedavg, which averages within each architecture"


def mosaic(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """One contribution a client, one global model; weights are averaged only in the rounds before and after, if any.

    A client that does not contribute is sent the global model, and else the rounds alone in which it answered.
    """
    before = range(config.rounds.warm_up)
    after = range(len(before), len(before) + config.rounds.fine_tune)
    warm = _warm_up(federation, config, before, journal)
    contributions = federation.contribute(warm.starts)

    def judge(model: GlobalModel) -> float | None:
        return validation_accuracy(federation.evaluate(model.architecture, model.state))

    distilled = distill(contributions, config, device, journal, warm.full, judge)

    tuned, up, down = _fine_tune(federation, config, distilled.model, after, journal)
    size = len(distilled.model.to_bytes())
    clients = len(federation.architectures)
    sent = of_each({c.client: len(c.to_bytes()) for c in contributions}, clients)
    begun = of_each(
        {c.client: warm.last.get(c.client, 0) + size * distilled.candidates for c in contributions}, clients
    )
    return Outcome(
        model=tuned,
        bytes_up=[own + a + b for own, a, b in zip(sent, warm.up, up, strict=True)],
        bytes_down=[size + own + a + b for own, a, b in zip(begun, warm.down, down, strict=True)],
        distilled=distilled,
    )


@dataclass(frozen=True)
class _Warm:
    """What the rounds before leave: each client's start, full models by architecture, bytes up and down a client.

    `last` are the bytes of the start, which goes down with the question for a contribution.
    """

    starts: dict[int, Start]
    full: States
    up: list[int]
    down: list[int]
    last: Mapping[int, int] = field(default_factory=dict)


def _warm_up(federation: Federation, config: Config, rounds: range, journal: Journal) -> _Warm:
    kind = config.rounds.kind
    seed = config.run.seed
    groups = dict(enumerate(federation.architectures))
    averaged = config.experts.kind == "class_average"
    if not (rounds or averaged):
        return _Warm({}, {}, *_nothing(len(groups)))
    with Stream(seed, "fedavg-init").ambient():
        states = {name: copy_state(build(name, federation.schema)) for name in sorted(set(groups.values()))}
    if not rounds:  # experts that will be averaged must at least start from one point, which a shared seed gives them
        return _Warm({k: Start(name, states[name]) for k, name in groups.items()}, {}, *_nothing(len(groups)))
    if kind == "fedavg":
        states = averaging_rounds(federation, groups, states, rounds, config.rounds, seed, journal)
        starts = {k: Start(name, states[name]) for k, name in groups.items()}
        sizes = packed_sizes(groups, states, federation.schema)
        sent = traffic(sizes, rounds, journal)
        return _Warm(starts, states, sent, sent, sizes)  # the last average goes down, too
    architecture = shared_architecture(federation.architectures, kind, BY_GROUP)
    held = assign(architecture, config.models.ratios, len(groups))
    rolling = kind == "fedrolex"
    state = partial_rounds(
        federation, architecture, held, states[architecture], rounds, config.rounds, seed, journal, rolling=rolling
    )
    state = static_batch_norm(federation, architecture, state, "statistics-warm-up", journal)
    starts = {}
    for client, ratio in held.items():
        window = indices(architecture, ratio, federation.schema, len(rounds) if rolling else 0)
        starts[client] = Start(narrow(architecture, ratio), extract(state, window))
    sizes = partial_sizes(architecture, held, state, federation.schema)
    sent = traffic(sizes, rounds, journal)
    stage = ["statistics-warm-up"]
    up, down = with_statistics(sent, architecture, state, federation.schema, stage, journal)
    return _Warm(starts, {architecture: state}, up, down, sizes)


def _nothing(clients: int) -> tuple[list[int], list[int]]:
    return [0] * clients, [0] * clients


def _fine_tune(
    federation: Federation, config: Config, model: GlobalModel, rounds: range, journal: Journal
) -> tuple[GlobalModel, list[int], list[int]]:
    """The model after the rounds that follow the distillation, and the bytes up and down of each client in them."""
    name = model.architecture
    seed = config.run.seed
    kind = config.rounds.kind
    clients = len(federation.architectures)
    lr = {"optimiser": config.train.optimiser, "lr": config.rounds.fine_tune_lr}
    state = State(model.state)
    if not rounds:
        return model, *_nothing(clients)
    if kind == "fedavg":
        everyone = dict.fromkeys(range(clients), name)
        states = averaging_rounds(federation, everyone, {name: state}, rounds, config.rounds, seed, journal, lr)
        sent = traffic(packed_sizes(everyone, states, model.schema), rounds, journal)
        return GlobalModel(name, model.schema, states[name]), sent, sent
    held = assign(name, config.models.ratios, clients)
    rolling = kind == "fedrolex"
    state = partial_rounds(federation, name, held, state, rounds, config.rounds, seed, journal, lr, rolling=rolling)
    state = static_batch_norm(federation, name, state, "statistics-fine-tune", journal)
    sent = traffic(partial_sizes(name, held, state, model.schema), rounds, journal)
    up, down = with_statistics(sent, name, state, model.schema, ["statistics-fine-tune"], journal)
    return GlobalModel(name, model.schema, state), up, down


def check_mosaic(config: Config, schema: Schema, models: Sequence[str], student: str) -> None:
    """Raise UsageError for settings with which the method would fail after its clients have trained."""
    contributed = models
    if config.rounds.warm_up or config.rounds.fine_tune:
        require(models, {Capability.WEIGHTS}, "averaging (rounds.warm_up, rounds.fine_tune)")
    if config.rounds.kind != "fedavg" and config.rounds.warm_up:
        full = shared_architecture(models, config.rounds.kind, BY_GROUP)
        held = assign(full, config.models.ratios, config.partition.clients)
        contributed = [narrow(full, ratio) for ratio in held.values()]
    check_distillation(config, schema, contributed)
    check_transfer(config, schema)
    if config.rounds.kind != "fedavg" and config.rounds.fine_tune:
        assign(student, config.models.ratios, config.partition.clients)
