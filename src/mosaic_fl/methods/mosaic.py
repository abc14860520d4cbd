"""Mosaic (arXiv 2505.19699), with the lessons of our feasibility study.

0. Optionally, rounds of averaging give the clients a common start. They average within each group of equal
   architectures. Where clients hold different widths of one architecture, they are rounds of HeteroFL or FedRolex.
1. Every client trains a classifier, its expert, and a generator of synthetic samples. Only these leave the client.
2. The server weights the experts by the classes that each has seen, and learns to fuse their outputs.
3. The server distils the fused teacher into one model, on synthetic samples alone.
4. Optionally, rounds of averaging fine-tune that model.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from mosaic_fl.config import Config
from mosaic_fl.config.aggregation import check_number, clients_a_round
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.feature_moments import moments_encoder, require_something
from mosaic_fl.exchange.federation import Federation, Start
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.experts.capability import Capability
from mosaic_fl.experts.naming import require
from mosaic_fl.methods.averaging import (
    States,
    averaging_rounds,
    packed_sizes,
    probability_of_truth,
    shared_architecture,
    traffic,
    validation_accuracy,
)
from mosaic_fl.methods.black_boxes import ask_black_boxes
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.methods.sending import by_client
from mosaic_fl.methods.width import assign, partial_rounds, partial_sizes, static_batch_norm, with_statistics
from mosaic_fl.models import build
from mosaic_fl.models.submodel import extract, indices
from mosaic_fl.models.width import narrow
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State, copy_state
from mosaic_fl.server.black_boxes import check_settings, settle
from mosaic_fl.server.checks import check_distillation, check_transfer
from mosaic_fl.server.distill import distill
from mosaic_fl.server.teachers import MOMENTS_GATE, MOMENTS_META, READ_MOMENTS
from mosaic_fl.storage.journal import Journal

BY_GROUP = "say rounds.kind = fedavg, which averages within each architecture"


def mosaic(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """One contribution a client, one global model. Weights are averaged only in the optional rounds before and after.

    Every client receives the global model. Beyond that, a client that does not contribute receives only the rounds in
    which it answered.
    """
    warm_up = range(config.rounds.warm_up)
    fine_tune = range(len(warm_up), len(warm_up) + config.rounds.fine_tune)
    common_start = _warm_up(federation, config, warm_up, journal)
    contributions = federation.contribute(common_start.starts)

    def losses(model: GlobalModel) -> list[Tensor]:
        return federation.evaluate(model.architecture, model.state, losses=True)

    def judge(model: GlobalModel) -> float | None:
        if model.schema.of_rows:
            return probability_of_truth(losses(model))
        return validation_accuracy(federation.evaluate(model.architecture, model.state))

    # Without held-back samples nobody can judge, and auto does without; who asks for a judge was told before.
    # A private client's scores would leave without noise.
    can_judge = not config.privacy.epsilon and (bool(config.data.validation) or config.distill.choose is True)
    settled = settle(contributions, config)
    asked = ask_black_boxes(federation, contributions, settled, device, judged=can_judge)
    settled = settled if asked.books else config
    distilled = distill(
        asked.contributions,
        settled,
        device,
        journal,
        common_start.full,
        judge if can_judge else None,
        federation.tally,
        asked.books,
        losses if can_judge else None,
    )

    model, up, down = _fine_tune(federation, config, distilled.model, fine_tune, journal)
    size = len(model.to_bytes())
    clients = len(federation.architectures)
    contribution_bytes = by_client({c.client: len(c.to_bytes(figures=True)) for c in contributions}, clients)
    candidate_bytes = len(replace(distilled.model, assurance=None).to_bytes()) * distilled.candidates
    answer_bytes = by_client(asked.up, clients)
    query_bytes = by_client(asked.down, clients)
    request_bytes = by_client(
        {c.client: common_start.start_bytes.get(c.client, 0) + candidate_bytes for c in contributions}, clients
    )
    return Outcome(
        model=model,
        bytes_up=[sum(parts) for parts in zip(contribution_bytes, answer_bytes, common_start.up, up, strict=True)],
        bytes_down=[
            size + sum(parts) for parts in zip(request_bytes, query_bytes, common_start.down, down, strict=True)
        ],
        distilled=distilled,
    )


@dataclass(frozen=True)
class _CommonStart:
    """The result of step 0: each client's start, full models by architecture, bytes up and down a client.

    `start_bytes` are the bytes of each client's start, which goes down with the request for a contribution.
    """

    starts: dict[int, Start]
    full: States
    up: list[int]
    down: list[int]
    start_bytes: Mapping[int, int] = field(default_factory=dict)


def _warm_up(federation: Federation, config: Config, rounds: range, journal: Journal) -> _CommonStart:
    kind = config.rounds.kind
    seed = config.run.seed
    groups = dict(enumerate(federation.architectures))
    averages_experts = config.experts.kind == "class_average"
    if not (rounds or averages_experts):
        return _CommonStart({}, {}, *_no_bytes(len(groups)))
    with Stream(seed, "fedavg-init").ambient():
        states = {name: copy_state(build(name, federation.schema)) for name in sorted(set(groups.values()))}
    if not rounds:  # experts that will be averaged need one start at least: the weights of a shared seed
        return _CommonStart({k: Start(name, states[name]) for k, name in groups.items()}, {}, *_no_bytes(len(groups)))
    if kind == "fedavg":
        states = averaging_rounds(federation, groups, states, rounds, config.rounds, seed, journal)
        starts = {k: Start(name, states[name]) for k, name in groups.items()}
        sizes = packed_sizes(groups, states, federation.schema)
        round_bytes = traffic(sizes, rounds, journal)
        return _CommonStart(starts, states, round_bytes, round_bytes, sizes)
    architecture = shared_architecture(federation.architectures, kind, BY_GROUP)
    ratios = assign(architecture, config.models.ratios, len(groups))
    rolling = kind == "fedrolex"
    state = partial_rounds(
        federation, architecture, ratios, states[architecture], rounds, config.rounds, seed, journal, rolling=rolling
    )
    state = static_batch_norm(federation, architecture, state, "statistics-warm-up", journal)
    starts = {}
    for client, ratio in ratios.items():
        window = indices(architecture, ratio, federation.schema, len(rounds) if rolling else 0)
        starts[client] = Start(narrow(architecture, ratio), extract(state, window))
    sizes = partial_sizes(architecture, ratios, state, federation.schema)
    round_bytes = traffic(sizes, rounds, journal)
    stage = ["statistics-warm-up"]
    up, down = with_statistics(round_bytes, architecture, state, federation.schema, stage, journal)
    return _CommonStart(starts, {architecture: state}, up, down, sizes)


def _no_bytes(clients: int) -> tuple[list[int], list[int]]:
    return [0] * clients, [0] * clients


def _fine_tune(
    federation: Federation, config: Config, model: GlobalModel, rounds: range, journal: Journal
) -> tuple[GlobalModel, list[int], list[int]]:
    """Step 4: the model after these rounds, and the bytes up and down of each client in them."""
    name = model.architecture
    seed = config.run.seed
    kind = config.rounds.kind
    clients = len(federation.architectures)
    settings = {"optimiser": config.train.optimiser, "lr": config.rounds.fine_tune_lr}
    state = State(model.state)
    if not rounds:
        return model, *_no_bytes(clients)
    if kind == "fedavg":
        groups = dict.fromkeys(range(clients), name)
        states = averaging_rounds(federation, groups, {name: state}, rounds, config.rounds, seed, journal, settings)
        round_bytes = traffic(packed_sizes(groups, states, model.schema), rounds, journal)
        return GlobalModel(name, model.schema, states[name]), round_bytes, round_bytes
    ratios = assign(name, config.models.ratios, clients)
    rolling = kind == "fedrolex"
    state = partial_rounds(
        federation, name, ratios, state, rounds, config.rounds, seed, journal, settings, rolling=rolling
    )
    state = static_batch_norm(federation, name, state, "statistics-fine-tune", journal)
    round_bytes = traffic(partial_sizes(name, ratios, state, model.schema), rounds, journal)
    up, down = with_statistics(round_bytes, name, state, model.schema, ["statistics-fine-tune"], journal)
    return GlobalModel(name, model.schema, state), up, down


def check_groups(config: Config, models: Sequence[str]) -> None:
    """Raise UsageError where a group of equal `models` is too small for the rule of its warm-up rounds."""
    if config.rounds.aggregate == "mean" or not config.rounds.warm_up:
        return
    groups = Counter(models[client % len(models)] for client in range(config.partition.clients))
    name, size = min(groups.items(), key=lambda group: group[1])
    check_number(config.rounds, clients_a_round(config.rounds, size), f" of {name}" if len(groups) > 1 else "")


def check_mosaic(config: Config, schema: Schema, models: Sequence[str], student: str) -> None:
    """Raise UsageError for settings that would fail only after the clients have trained."""
    architectures = models
    if config.rounds.warm_up or config.rounds.fine_tune:
        require(models, {Capability.WEIGHTS}, "averaging (rounds.warm_up, rounds.fine_tune)")
        check_groups(config, models)
    if config.rounds.kind != "fedavg" and config.rounds.warm_up:
        full = shared_architecture(models, config.rounds.kind, BY_GROUP)
        ratios = assign(full, config.models.ratios, config.partition.clients)
        architectures = [narrow(full, ratio) for ratio in ratios.values()]
    check_settings(config, models)
    beside = moments_encoder(config, schema)
    require_something(config, models)
    named = sorted(READ_MOMENTS & {config.distill.teacher, *config.distill.candidates})
    learnt = sorted({MOMENTS_GATE, MOMENTS_META} & set(named))
    if beside is None and (learnt or (named and not schema.of_vectors)):
        raise UsageError(
            f"distill.teacher is {(learnt or named)[0]}, and no client tells class moments: say --moments NAME"
        )
    check_distillation(config, schema, architectures)
    check_transfer(config, schema)
    if config.rounds.kind != "fedavg" and config.rounds.fine_tune:
        assign(student, config.models.ratios, config.partition.clients)
