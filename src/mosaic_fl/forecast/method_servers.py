"""The server's work of each method, counted: after each round's average, and on contributions."""

from math import ceil

import torch

from mosaic_fl.experts.closed_form import NETWORK_NAME
from mosaic_fl.forecast.clients import TASK, spec_of
from mosaic_fl.forecast.server import (
    COPIES,
    ServerWork,
    distillation,
    outputs,
    pool_bytes,
    student_steps,
    transfer,
)
from mosaic_fl.forecast.setup import SERVER_GENERATORS, Setup, Workload
from mosaic_fl.forecast.sizes import assurance_bytes, decoder_bytes, model_bytes, packed_bytes
from mosaic_fl.forecast.work import Job, Phase, Unit
from mosaic_fl.methods import METHODS
from mosaic_fl.methods.card import ALL_MODELS
from mosaic_fl.server.students import global_name

SYNTHESIS = (
    "dense",
    "coboosting",
)  # methods whose server trains generators against the contributed models


def round_jobs(setup: Setup, total: Workload) -> list[Job]:
    """The server's work after each round's average; adds to `total` what comes once, before the rounds."""
    config = setup.config
    settings = config.synthesis
    name = setup.shares[0].architecture
    if setup.method == "feddf":
        images = transfer(config, setup.schema, setup.contributors)
        total.phases.append(Phase(server=images.jobs))
        stage = pool_bytes(setup.schema, images.total, 1)
        total.pools += round(COPIES * stage)
        total.disk += stage
        steps = student_steps("student", config, name, images.total, config.distill.steps)
        return [*outputs("pool", setup.contributors, images.total), *steps]
    if setup.method in SERVER_GENERATORS:
        conditions = (("experts", len(setup.shares)), ("method", setup.method))
        synthesis = Unit("synthesis", name, settings.batch_size, conditions)
        lesson = Unit("lesson", name, settings.batch_size, conditions)
        return [
            Job("rounds", synthesis, settings.epochs * settings.generator_steps),
            Job("rounds", lesson, settings.epochs * settings.student_steps),
        ]
    if setup.method == "fedgen":
        features = Unit("features", name, settings.batch_size)
        return [Job("rounds", features, settings.epochs * settings.generator_steps)]
    return []


def one_shot_jobs(setup: Setup, total: Workload) -> list[Job]:
    """The server's work on contributions; adds the bytes and the clients' part of it to `total`."""
    method = setup.method
    experts = len(setup.shares)
    size = model_bytes(setup.student, setup.schema)
    all_models = sum(model_bytes(s.architecture, setup.schema) for s in setup.shares)
    validation = sum(s.validation for s in setup.shares)
    work = ServerWork()
    if method == "mosaic":
        work = distillation(setup.config, setup.schema, setup.contributors, setup.student, can_score=True)
        work.jobs.append(Job("student", Unit("forward", global_name(setup.student)), validation * work.candidates))
        more = 0 if setup.config.rounds.fine_tune else assurance_bytes(global_name(setup.student), setup.schema)
        sent = size and size + more
        total.down += experts * (sent + size * work.candidates)
    elif method == "fedcvae":
        work = _decoding(setup)
        specs = [spec_of(share, setup.config, setup.schema, setup.device) for share in setup.shares]
        total.up = sum(decoder_bytes(spec, setup.schema) for spec in specs if spec is not None)  # no classifiers
        total.down += experts * size
    elif METHODS[method].vectors:
        work = _head(setup, total)
    elif method in SYNTHESIS:
        work = _synthesis(setup)
        total.down += experts * size
    elif method == "fens":
        total.down += all_models * (experts - 1)
        _fuse(setup, total)
    elif METHODS[method].serves == ALL_MODELS or method == "best_local":
        total.down += all_models * (experts - 1)
        if method == "best_local":
            work.jobs.extend(outputs("choice", setup.contributors, validation))
    total.disk += work.disk
    total.pools += work.pools
    return work.jobs


def _decoding(setup: Setup) -> ServerWork:
    """FedCVAE: samples of the clients' decoders, and a student on their labels alone."""
    config = setup.config.with_values({"distill.prior": "none"})
    images = transfer(config, setup.schema, setup.contributors)
    stage = pool_bytes(setup.schema, images.total, 0)
    steps = student_steps("student", config, setup.student, images.total, config.distill.steps)
    disk = stage + model_bytes(setup.student, setup.schema)
    return ServerWork([*images.jobs, *steps], disk, round(COPIES * stage))


def _head(setup: Setup, total: Workload) -> ServerWork:
    """Methods on vectors: a linear layer by a formula, or of FedPFT by steps on draws; it changes the bytes of `total`.

    The formula itself, a moment, is not counted.
    """
    specs = [spec_of(share, setup.config, setup.schema, setup.device) for share in setup.shares]
    total.up = sum(decoder_bytes(spec, setup.schema) for spec in specs if spec is not None)  # no classifiers
    size = model_bytes(NETWORK_NAME, setup.schema)
    total.down += len(setup.shares) * size
    if setup.method != "fedpft":
        return ServerWork([], size)
    settings = setup.config.distill
    count = settings.pool or sum(share.samples for share in setup.shares)
    stage = pool_bytes(setup.schema, count, 0)
    steps = student_steps("student", setup.config, NETWORK_NAME, count, settings.steps)
    return ServerWork(steps, stage + size, round(COPIES * stage))


def _synthesis(setup: Setup) -> ServerWork:
    """DENSE and Co-Boosting: in each epoch the steps of a new generator, then a student on a pool that grows."""
    settings = setup.config.synthesis
    method = setup.method
    conditions = (("experts", len(setup.shares)), ("method", method))
    passes = sum(ceil(epoch * settings.batch_size / settings.pool_batch) for epoch in range(1, settings.epochs + 1))
    synthesis = Unit("synthesis", setup.student, settings.batch_size, conditions)
    lesson = Unit("lesson", setup.student, settings.pool_batch, conditions)
    jobs = [
        Job(method, synthesis, settings.epochs * settings.generator_steps),
        Job(method, lesson, settings.epochs * settings.student_steps or passes),
    ]
    teachers = len(setup.shares) if method == "coboosting" else 1
    stage = pool_bytes(setup.schema, settings.epochs * settings.batch_size, teachers)
    size = 2 * model_bytes(setup.student, setup.schema)
    return ServerWork(jobs, stage + 2 * size, round(COPIES * stage) + size)


def _fuse(setup: Setup, total: Workload) -> None:
    """FENS: rounds of an aggregator on all experts' outputs for the validation splits."""
    config = setup.config
    experts = len(setup.shares)
    classes = setup.schema.num_classes
    width = config.meta.width
    shares = [s for s in setup.shares if s.validation]
    total.phases.append(Phase({s.client: outputs("outputs", setup.contributors, s.validation) for s in shares}))
    step = Unit("fusion", "", config.meta.batch_size, (("experts", experts),))
    rounds = max(1, config.rounds.warm_up)
    jobs = {
        s.client: [
            Job("rounds", step, config.rounds.steps or ceil(s.validation / config.meta.batch_size)),
            Job("rounds", Unit("fixed"), TASK / 4),
        ]
        for s in shares
    }
    total.phases.append(Phase(jobs, times=rounds))
    shapes = {"first": (torch.float32, (width, experts * classes)), "last": (torch.float32, (classes, width))}
    size = packed_bytes(shapes)
    total.up += rounds * experts * size
    total.down += (rounds + 1) * experts * size
