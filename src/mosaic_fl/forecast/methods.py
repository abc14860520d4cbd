"""What each method does, counted: rounds, contributions, the server's part, and the bytes that travel."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any

import torch

from mosaic_fl.config import Config
from mosaic_fl.domains.schema import Schema
from mosaic_fl.forecast.clients import TASK, Share, contribution, in_order, spec_of, training
from mosaic_fl.forecast.server import (
    COPIES,
    Contributor,
    ServerWork,
    distillation,
    outputs,
    pool_bytes,
    student_steps,
    transfer,
)
from mosaic_fl.forecast.sizes import (
    contribution_bytes,
    decoder_bytes,
    feature_size,
    model_bytes,
    normalised,
    packed,
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
from mosaic_fl.server.synthesis.generator import synthesis_spec

ONE_SHOT_SERVERS = ("dense", "coboosting")
IN_ROUNDS = ("fedftg", "dfrd")
HALVED = ("heterofl", "fedrolex")  # clients hold sub-models of one architecture
AVERAGING = 4.0  # how often a round's weights are copied, added, written and read


@dataclass(frozen=True)
class Federated:
    """All that counting needs: the clients' shares, the schema of their images, the configuration, the test images."""

    shares: Sequence[Share]
    schema: Schema
    config: Config
    student: str
    device: torch.device
    test: int

    @property
    def contributors(self) -> list[Contributor]:
        """What the server gets of each."""
        specs = {s.client: spec_of(s, self.config, self.schema, self.device) for s in self.shares}
        return [
            Contributor(s.architecture, spec.family if (spec := specs[s.client]) else "", s.samples)
            for s in self.shares
        ]


@dataclass
class Counted:
    """What was counted: phases in order, bytes up and down of all clients, on disk, and held by the server."""

    phases: list[Phase] = field(default_factory=list)
    up: float = 0
    down: float = 0
    disk: int = 0
    pools: int = 0


def count(of: Federated) -> Counted:
    """The whole work of `of.config.run.method`."""
    config = of.config
    card = METHODS[of.config.run.method]
    total = Counted()
    mosaic = config.run.method == "mosaic"
    held = max(1, config.rounds.warm_up) if card.rounds else config.rounds.warm_up if mosaic else 0
    if card.transfer and card.rounds:  # the generators come once, before the rounds
        _contribute(of, total)
    if held:
        _rounds(of, total, held, _server_of_a_round(of, total))
        if mosaic:  # what the rounds end with goes down, too, and clients contribute what they train on from there
            widths = _widths(of)
            of = replace(of, shares=[replace(s, architecture=widths.get(s.client, s.architecture)) for s in of.shares])
            total.down += sum(model_bytes(s.architecture, of.schema) for s in of.shares)
    if not card.rounds:
        _contribute(of, total)
        total.phases.append(Phase(server=_one_shot(of, total)))
    if mosaic and config.rounds.fine_tune:
        tuned = replace(of, shares=[replace(s, architecture=of.student) for s in of.shares])
        lr = {"optimiser": config.train.optimiser, "lr": config.rounds.fine_tune_lr}
        _rounds(tuned, total, config.rounds.fine_tune, [], lr)
    _evaluate(of, total)
    return total


def _contribute(of: Federated, total: Counted) -> None:
    config = of.config
    schema = of.schema
    jobs = {s.client: contribution(s, config, schema, of.device) for s in in_order(of.shares)}
    sizes = 0
    for share in of.shares:
        spec = spec_of(share, config, schema, of.device)
        sizes += contribution_bytes(share.architecture, schema, share.counts, config.prototypes, spec)
    total.phases.append(Phase(clients=jobs))
    total.up += sizes
    total.disk += sizes
    total.pools += sizes


def _rounds(
    of: Federated, total: Counted, times: int, server: Sequence[Job], changes: dict[str, Any] | None = None
) -> None:
    config = of.config
    schema = of.schema
    widths = _widths(of)
    local = local_settings(config.rounds, len(set(widths.values())) > 1) | _of_method(config) | (changes or {})
    asked = max(1, round_half_up(config.rounds.participation * len(of.shares)))
    # Which clients take part is drawn anew in each round: some of every size stand for them.
    chosen = in_order(of.shares)[:: max(1, len(of.shares) // asked)][:asked]
    jobs = {}
    sizes = list[int]()
    for share in chosen:
        name = widths.get(share.client, share.architecture)
        size = model_bytes(name, schema)
        sizes.append(size)
        jobs[share.client] = [
            *training("rounds", share, name, config, local),
            Job("rounds", Unit("packing"), AVERAGING * size),
            Job("rounds", Unit("fixed"), TASK),
        ]
    total.phases.append(Phase(clients=jobs, server=server, times=times))
    looks = {s.client: [Job("rounds", Unit("forward", s.architecture), s.held)] for s in of.shares if s.held}
    total.phases.append(Phase(clients=looks, times=times))
    total.up += times * sum(sizes)
    total.down += times * sum(sizes)
    if widths and normalised(of.shares[0].architecture, schema):  # the full model's statistics are measured once more
        measured = times + 1 if config.run.method == "dfrd" else 1
        total.down += measured * len(of.shares) * model_bytes(of.shares[0].architecture, schema)
    _beside_the_model(of, total, times, asked)
    total.disk += 2 * sum({name: model_bytes(name, schema) for name in {s.architecture for s in of.shares}}.values())


def _beside_the_model(of: Federated, total: Counted, times: int, asked: int) -> None:
    """What else the server of a method keeps from round to round, or sends."""
    settings = of.config.synthesis
    method = of.config.run.method
    if method == "fedgen" and times > 1:
        features = feature_size(of.shares[0].architecture, of.schema)
        with torch.random.fork_rng(devices=[]):
            latent = LatentGenerator(settings.latent, settings.width, of.schema.num_classes, features)
        size = packed(shapes_of(latent.state_dict()))
        total.down += (times - 1) * asked * size
        total.disk += size
    if method in IN_ROUNDS:
        total.disk += 4 * spec_numbers(synthesis_spec(settings), of.schema) * (2 if method == "dfrd" else 1)


def _widths(of: Federated) -> dict[int, str]:
    """The sub-model of each client, where clients hold sub-models."""
    config = of.config
    partial = config.run.method in HALVED or (config.run.method in ("mosaic", "dfrd") and config.rounds.kind in HALVED)
    if not partial:
        return {}
    full = of.shares[0].architecture
    held = assign(full, config.models.ratios, len(of.shares))
    return {share.client: narrow(full, held[at]) for at, share in enumerate(of.shares)}


def _of_method(config: Config) -> dict[str, Any]:
    return {"proximal": config.train.proximal} if config.run.method == "fedprox" else {}


def _server_of_a_round(of: Federated, total: Counted) -> list[Job]:
    """What the server does after each round's average, beside averaging."""
    config = of.config
    settings = of.config.synthesis
    name = of.shares[0].architecture
    experts = len(of.shares)
    if config.run.method == "feddf":
        images = transfer(config, of.schema, of.contributors)
        total.phases.append(Phase(server=images.jobs))
        stage = pool_bytes(of.schema, images.total, 1)
        total.pools += round(COPIES * stage)
        total.disk += stage
        steps = student_steps("student", config, name, images.total, config.distill.steps)
        return [*outputs("pool", of.contributors, images.total), *steps]
    if config.run.method in IN_ROUNDS:
        how = (("experts", experts), ("method", config.run.method))
        made = settings.epochs * settings.generator_steps
        learnt = settings.epochs * settings.student_steps
        return [
            Job("rounds", Unit("synthesis", name, settings.batch_size, how), made),
            Job("rounds", Unit("lesson", name, settings.batch_size, how), learnt),
        ]
    if config.run.method == "fedgen":
        return [Job("rounds", Unit("features", name, settings.batch_size), settings.epochs * settings.generator_steps)]
    return []


def _one_shot(of: Federated, total: Counted) -> list[Job]:
    """The server's work on contributions."""
    config = of.config
    schema = of.schema
    method = of.config.run.method
    experts = len(of.shares)
    size = model_bytes(of.student, schema)
    work = ServerWork()
    models = [model_bytes(s.architecture, schema) for s in of.shares]
    if method == "mosaic":
        work = distillation(config, schema, of.contributors, of.student, judged=True)
        held = sum(s.held for s in of.shares)
        work.jobs.append(Job("student", Unit("forward", of.student), held * work.tried))
        total.down += experts * size * (1 + work.tried)
    elif method == "fedcvae":
        plain = config.with_values({"distill.prior": "none"})
        images = transfer(plain, schema, of.contributors)
        stage = pool_bytes(schema, images.total, 0)
        steps = student_steps("student", plain, of.student, images.total, plain.distill.steps)
        work = ServerWork([*images.jobs, *steps], stage + size, round(COPIES * stage))
        specs = [spec_of(share, config, schema, of.device) for share in of.shares]
        total.up = sum(decoder_bytes(spec, schema) for spec in specs if spec is not None)  # and no classifier
        total.down += experts * size
    elif method in ONE_SHOT_SERVERS:
        work = _synthesis(of)
        total.down += experts * size
    elif method == "fens":
        total.down += sum(models) * (experts - 1)
        _fuse(of, total)
    elif METHODS[method].serves == ALL_MODELS or method == "best_local":
        total.down += sum(models) * (experts - 1)
        if method == "best_local":
            held = sum(s.held for s in of.shares)
            work.jobs.extend(outputs("choice", of.contributors, held))
    total.disk += work.disk
    total.pools += work.pools
    return work.jobs


def _synthesis(of: Federated) -> ServerWork:
    """DENSE and Co-Boosting: in each epoch the steps of a new generator, then a student on a pool that grows."""
    settings = of.config.synthesis
    schema = of.schema
    method = of.config.run.method
    experts = (("experts", len(of.shares)), ("method", method))
    passes = sum(ceil(epoch * settings.batch_size / settings.pool_batch) for epoch in range(1, settings.epochs + 1))
    lessons = settings.epochs * settings.student_steps or passes
    step = Unit("synthesis", of.student, settings.batch_size, experts)
    made = settings.epochs * settings.generator_steps
    jobs = [Job(method, step, made), Job(method, Unit("lesson", of.student, settings.pool_batch, experts), lessons)]
    told = len(of.shares) if method == "coboosting" else 1
    stage = pool_bytes(schema, settings.epochs * settings.batch_size, told)
    size = 2 * model_bytes(of.student, schema)
    return ServerWork(jobs, stage + 2 * size, round(COPIES * stage) + size)


def _fuse(of: Federated, total: Counted) -> None:
    """FENS: rounds of an aggregator on what all experts say of the validation splits."""
    config = of.config
    experts = len(of.shares)
    classes = of.schema.num_classes
    width = config.meta.width
    total.phases.append(Phase({s.client: outputs("outputs", of.contributors, s.held) for s in of.shares if s.held}))
    step = Unit("fusion", "", config.meta.batch_size, (("experts", experts),))
    rounds = max(1, config.rounds.warm_up)
    jobs = {
        s.client: [
            Job("rounds", step, config.rounds.steps or ceil(s.held / config.meta.batch_size)),
            Job("rounds", Unit("fixed"), TASK / 4),
        ]
        for s in of.shares
        if s.held
    }
    total.phases.append(Phase(jobs, times=rounds))
    shape = {"first": (torch.float32, (width, experts * classes)), "last": (torch.float32, (classes, width))}
    size = packed(shape)
    total.up += rounds * experts * size
    total.down += (rounds + 1) * experts * size


def _evaluate(of: Federated, total: Counted) -> None:
    """The served model on validation splits and the test set, and the clients' own models on the latter."""
    config = of.config
    card = METHODS[of.config.run.method]
    clients = {s.client: [Job("figures", Unit("forward", of.student), s.held)] for s in of.shares if s.held}
    one = card.serves != ALL_MODELS
    if one:
        total.phases.append(Phase(clients=clients))
    jobs: list[Job] = [Job("figures", Unit("forward", of.student), of.test)] if one else []
    if config.run.method == "mosaic" or not one:
        jobs += outputs("figures", of.contributors, of.test)
    size = model_bytes(of.student, of.schema) if one else 0
    if card.rounds:
        total.down += len(of.shares) * size
    total.disk += size
    total.phases.append(Phase(server=jobs))
