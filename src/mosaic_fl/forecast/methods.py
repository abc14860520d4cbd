"""The whole work of a method, counted: contributions, rounds, the server's part, the figures, and bytes that travel."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from mosaic_fl.config import Config
from mosaic_fl.experts.bins import bins_of
from mosaic_fl.experts.closed_form import NETWORK_NAME
from mosaic_fl.forecast.clients import TASK, contribution, largest_first, spec_of, training
from mosaic_fl.forecast.method_servers import one_shot_jobs, round_jobs
from mosaic_fl.forecast.server import outputs
from mosaic_fl.forecast.setup import SERVER_GENERATORS, Setup, Workload
from mosaic_fl.forecast.sizes import (
    contribution_bytes,
    feature_size,
    has_running_statistics,
    model_bytes,
    packed_bytes,
    shapes_of,
    spec_numbers,
)
from mosaic_fl.forecast.work import Job, Phase, Unit
from mosaic_fl.generators.latent import LatentGenerator
from mosaic_fl.methods import METHODS
from mosaic_fl.methods.averaging import local_settings, round_half_up
from mosaic_fl.methods.card import ALL_MODELS
from mosaic_fl.methods.width import assign
from mosaic_fl.models.width import narrow
from mosaic_fl.server.students import global_name
from mosaic_fl.server.synthesis.generator import synthesis_spec

SUBMODELS = ("heterofl", "fedrolex")  # methods, and kinds of rounds, whose clients hold sub-models of one architecture
NODE = 36  # bytes of a tree's node in a message
SUMS = 16  # bytes of the two sums of a bin
BOOSTING = 0.02  # seconds of a client for one request of boosting, as a task's
AVERAGING = 4.0  # how often a round's weights are copied, added, written and read


def count(setup: Setup) -> Workload:
    """The whole work of the run's method."""
    config = setup.config
    card = METHODS[setup.method]
    total = Workload()
    mosaic = setup.method == "mosaic"
    rounds = config.rounds.warm_up if card.rounds or mosaic else 0
    if card.rounds:
        rounds = max(1, rounds)
    if card.transfer and card.rounds:  # the generators come once, before the rounds
        _contribute(setup, total)
    if card.boosts:
        _boost(setup, total, rounds)
    elif rounds:
        _rounds(setup, total, rounds, round_jobs(setup, total))
        if mosaic:  # clients receive the rounds' last models, and contribute what they train from them
            widths = _widths(setup)
            shares = [replace(s, architecture=widths.get(s.client, s.architecture)) for s in setup.shares]
            setup = replace(setup, shares=shares)
            total.down += sum(model_bytes(s.architecture, setup.schema) for s in setup.shares)
    if not card.rounds:
        _contribute(setup, total)
        total.phases.append(Phase(server=one_shot_jobs(setup, total)))
    if mosaic and config.rounds.fine_tune:
        student = replace(setup, shares=[replace(s, architecture=setup.student) for s in setup.shares])
        changes = {"optimiser": config.train.optimiser, "lr": config.rounds.fine_tune_lr}
        _rounds(student, total, config.rounds.fine_tune, [], changes)
    _evaluate(replace(setup, student=NETWORK_NAME) if card.vectors else setup, total)
    return total


def _contribute(setup: Setup, total: Workload) -> None:
    """Add all clients' contributions."""
    config = setup.config
    schema = setup.schema
    jobs = {s.client: contribution(s, config, schema, setup.device) for s in largest_first(setup.shares)}
    sizes = 0
    for share in setup.shares:
        spec = spec_of(share, config, schema, setup.device)
        sizes += contribution_bytes(share.architecture, schema, share.counts, config, spec)
    total.phases.append(Phase(clients=jobs))
    total.up += sizes
    total.disk += sizes
    total.pools += sizes


def _rounds(
    setup: Setup, total: Workload, times: int, server: Sequence[Job], changes: dict[str, Any] | None = None
) -> None:
    """Add `times` rounds: local training with `changes` to its settings, the work of the `server`, the validation."""
    config = setup.config
    schema = setup.schema
    full = setup.shares[0].architecture
    widths = _widths(setup)
    local = local_settings(config.rounds, len(set(widths.values())) > 1) | _of_method(config) | (changes or {})
    participants = max(1, round_half_up(config.rounds.participation * len(setup.shares)))
    # Each round draws its clients anew: some clients of every size stand for them.
    cohort = largest_first(setup.shares)[:: max(1, len(setup.shares) // participants)][:participants]
    jobs = {}
    sizes = list[int]()
    for share in cohort:
        name = widths.get(share.client, share.architecture)
        size = model_bytes(name, schema)
        sizes.append(size)
        jobs[share.client] = [
            *training("rounds", share, name, config, local),
            Job("rounds", Unit("packing"), AVERAGING * size),
            Job("rounds", Unit("fixed"), TASK),
        ]
    total.phases.append(Phase(clients=jobs, server=server, times=times))
    shares = [s for s in setup.shares if s.validation]
    checks = {s.client: [Job("rounds", Unit("forward", s.architecture), s.validation)] for s in shares}
    total.phases.append(Phase(clients=checks, times=times))
    total.up += times * sum(sizes)
    total.down += times * sum(sizes)
    if widths and has_running_statistics(
        full, schema
    ):  # static batch norm: the clients measure the full model's statistics
        exchanges = times + 1 if setup.method == "dfrd" else 1
        total.down += exchanges * len(setup.shares) * model_bytes(full, schema)
    _beside_the_model(setup, total, times, participants)
    total.disk += 2 * sum(model_bytes(name, schema) for name in {s.architecture for s in setup.shares})


def _boost(setup: Setup, total: Workload, times: int) -> None:
    """Add `times` rounds of trees: a request a level where clients send sums, else one request. Bytes are guesses.

    The ensemble goes down with each request and has half of its trees on the average.
    """
    settings = setup.config.boosting
    by_levels = setup.method == "federated_xgboost"
    requests = settings.depth if by_levels else 1
    outputs = 1 if setup.schema.num_classes == 2 else setup.schema.num_classes
    tree = outputs * NODE * 2**settings.depth
    clients = len(setup.shares)
    jobs = {s.client: [Job("rounds", Unit("fixed"), requests * BOOSTING)] for s in largest_first(setup.shares)}
    total.phases.append(Phase(clients=jobs, times=times))
    sums = 0
    if by_levels:
        sums = SUMS * outputs * 2**settings.depth * bins_of(setup.schema, settings.bins).total
    total.up += times * clients * (sums or tree)
    total.down += times * clients * requests * tree * (times // 2) * (1 if by_levels else clients)
    total.disk += 2 * times * tree


def _beside_the_model(setup: Setup, total: Workload, times: int, participants: int) -> None:
    """Add the bytes of a method's generators, which its server stores from round to round, or sends."""
    settings = setup.config.synthesis
    if setup.method == "fedgen" and times > 1:
        features = feature_size(setup.shares[0].architecture, setup.schema)
        with torch.random.fork_rng(devices=[]):
            latent = LatentGenerator(settings.latent, settings.width, setup.schema.num_classes, features)
        size = packed_bytes(shapes_of(latent.state_dict()))
        total.down += (times - 1) * participants * size
        total.disk += size
    if setup.method in SERVER_GENERATORS:
        generators = 2 if setup.method == "dfrd" else 1
        total.disk += 4 * spec_numbers(synthesis_spec(settings), setup.schema) * generators


def _widths(setup: Setup) -> dict[int, str]:
    """Each client's sub-model; empty where clients hold full models."""
    config = setup.config
    in_rounds = setup.method in ("mosaic", "dfrd") and config.rounds.kind in SUBMODELS
    if not (setup.method in SUBMODELS or in_rounds):
        return {}
    full = setup.shares[0].architecture
    ratios = assign(full, config.models.ratios, len(setup.shares))
    return {share.client: narrow(full, ratios[index]) for index, share in enumerate(setup.shares)}


def _of_method(config: Config) -> dict[str, Any]:
    """The method's own changes to the local training that change its cost."""
    return {"proximal": config.train.proximal} if config.run.method == "fedprox" else {}


def _evaluate(setup: Setup, total: Workload) -> None:
    """Add the figures: the served model on validation splits and test images, the clients' own models on the latter."""
    card = METHODS[setup.method]
    one_model = card.serves != ALL_MODELS
    jobs = list[Job]()
    if one_model:
        step = Unit("forward", global_name(setup.student))
        clients = {s.client: [Job("figures", step, s.validation)] for s in setup.shares if s.validation}
        total.phases.append(Phase(clients=clients))
        jobs.append(Job("figures", step, setup.test))
    if setup.method == "mosaic" or not one_model:
        jobs += outputs("figures", setup.contributors, setup.test)
    size = model_bytes(setup.student, setup.schema) if one_model else 0
    if card.rounds:
        total.down += len(setup.shares) * size
    total.disk += size
    total.phases.append(Phase(server=jobs))
