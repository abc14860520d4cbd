"""Mosaic's work at the server, counted: meta model, transfer set, student."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod

import torch

from mosaic_fl.config import Config
from mosaic_fl.domains.schema import Schema
from mosaic_fl.exchange.feature_moments import decodes, moments_encoder
from mosaic_fl.experts.answers.kind import is_black_box
from mosaic_fl.experts.closed_form import is_closed_form
from mosaic_fl.experts.no_model import has_model
from mosaic_fl.experts.training import steps_for
from mosaic_fl.forecast.sizes import model_bytes, packed_bytes
from mosaic_fl.forecast.work import Job, Unit
from mosaic_fl.models import default_student
from mosaic_fl.registries import GENERATORS
from mosaic_fl.server.boosting import is_boosted
from mosaic_fl.server.choices import Choices
from mosaic_fl.server.experts import at_once
from mosaic_fl.server.feature_space import INVERTED
from mosaic_fl.server.gate import HOLDOUT, gate_samples, network_settings, uses_trees
from mosaic_fl.server.meta import MetaTransformer
from mosaic_fl.server.meta_training import most_samples
from mosaic_fl.server.panel import panel_size
from mosaic_fl.server.recipes import Recipe, with_moments_prior
from mosaic_fl.server.student import CHECKS
from mosaic_fl.server.students import global_name, is_network
from mosaic_fl.server.teachers import GATE, MOMENTS, MOMENTS_GATE, MOMENTS_META, PRODUCT, READ_MOMENTS
from mosaic_fl.server.transfer import decoded_samples, has_prior, pool_samples

DRAWS = 3.0  # samples that an unconditional generator draws for one sample of a class
GRADIENT = 3.0  # passes through an encoder that a step of its inversion takes
COPIES = 3.0  # of the transfer set in memory while it is written: the set, its packed form, the file's bytes
PARTS = 4  # of the experts' outputs at once in memory while teachers work on them
TREE_SECONDS = 1e-4  # of the gate's trees, a sample and source
PASSES = 2.0  # a stage's bytes are written and read
BOOSTING = "boosting"
"""Begins the names of stages of boosted trees, which no budget of steps makes shorter."""


@dataclass(frozen=True)
class Contributor:
    """A client that contributes: its architecture, its generator's family ("" without one), its training samples."""

    architecture: str
    family: str
    samples: int

    @property
    def rejects(self) -> bool:
        """Whether its generator is unconditional, so that its expert finds the class of each sample."""
        return bool(self.family) and not GENERATORS.received(self.family).conditional


@dataclass(frozen=True)
class ServerWork:
    """Jobs of the server, bytes of its stages on disk and of its pools in memory, the number of candidate students."""

    jobs: list[Job] = field(default_factory=list)
    disk: int = 0
    pools: int = 0
    candidates: int = 0


def distillation(
    config: Config, schema: Schema, contributors: Sequence[Contributor], student: str, *, can_score: bool
) -> ServerWork:
    """The work of `server.distill`. Where clients `can_score` candidates, `distill.choose` adds candidate students."""
    if config.moments.encoder and not any(c.family for c in contributors):
        config = with_moments_prior(config, schema)
    settings = config.distill
    classes = schema.num_classes
    asked = _asked(schema, contributors)
    experts = len(asked)
    has_gate = config.experts.kind == "clients" and any(c.family for c in contributors)
    even = torch.full((experts, classes), 1 / experts)
    encoder = config.moments.encoder
    features = _space_teacher(config, contributors)
    choices = Choices(settings, schema, None, even, gate=has_gate, judged=can_score, features=features)
    jobs, disk = meta_model(config, schema, contributors) if choices.needs_meta else ([], 0)
    images = transfer(config, schema, contributors)
    total = images.total
    meta = bool(jobs)
    jobs += images.jobs + outputs("pool", asked, total)
    best = choices.best(meta=meta)
    teacher = best if settings.teacher == "auto" else settings.teacher
    measurable = any(c.family for c in contributors) and not any(c.rejects for c in contributors)
    # As the kind of samples says: nobody has looked at the generators yet.
    weak = has_prior(settings, schema) and measurable and not settings.fresh
    asks = can_score and (weak and bool(settings.both) if settings.choose == "auto" else settings.choose)
    asks = choices.asked if schema.of_rows or encoder else asks
    tried = choices.tried(best, meta=meta) if asks else []
    teachers = sorted({teacher, *tried})
    steps = sorted({*teachers, "class_balanced"})
    if GATE in teachers:
        jobs += gate(config, schema, asked, total)
    more, bytes_more = learnt_beside(config, schema, asked, total, teachers)
    jobs += more
    disk += bytes_more
    jobs += [Job("pool", Unit("teachers", name, experts), total) for name in [*steps, "evened"]]
    encodes = bool(READ_MOMENTS & set(teachers)) and bool(encoder)
    encoding = [Job("pool", Unit("encode", encoder), total)] if encodes else []
    jobs += encoding
    stage = pool_bytes(schema, total, len(teachers))
    jobs.append(Job("pool", Unit("packing"), PASSES * stage))
    labelled = images.generated > 0 and (settings.plain or not has_prior(settings, schema))
    default = choices.default(teacher, Recipe(teacher, 0.5, measured=True))
    recipes = choices.candidates(default, tried, labelled=labelled) if asks else []
    short = max(1, round(settings.candidate_share * settings.steps))
    for recipe in recipes:
        jobs += student_steps(f"candidate-{recipe.name}", config, student, total, short)
    jobs += student_steps("student", config, student, total, settings.steps)
    single = not is_network(student) or any(is_black_box(c.architecture) for c in contributors)
    terms = settings.terms if weak and not single else 1
    answer = Job("pool", Unit("teachers", teacher, experts), total)
    for term in range(2, terms + 1):
        name = f"student-{term}"
        drawn = [*images.jobs, *outputs(name, asked, total), answer, *encoding]
        jobs += [replace(job, stage=name) for job in drawn]
        jobs += student_steps(name, config, student, total, settings.steps)
    if settings.fresh:
        fresh_images = settings.steps * settings.batch_size
        jobs += sampling("student", contributors, fresh_images, balanced=bool(settings.balanced))
        jobs += [
            *outputs("student", asked, fresh_images),
            Job("student", Unit("teachers", teacher, experts), fresh_images),
        ]
    output_bytes = PARTS * 4 * min(total, at_once(4 * experts * classes)) * experts * classes
    size = model_bytes(student, schema)
    judged = len(recipes) + (terms if settings.terms > 1 and not settings.fresh else 0) + 1 if asks else 0
    return ServerWork(jobs, disk + stage + (1 + terms) * size, round(COPIES * stage) + output_bytes, judged)


def _asked(schema: Schema, contributors: Sequence[Contributor]) -> Sequence[Contributor]:
    """As many contributors as a panel has, with the architectures in turn; whom it chooses costs no more."""
    return contributors if schema.joins else contributors[: panel_size(len(contributors), schema.num_classes)]


def _space_teacher(config: Config, contributors: Sequence[Contributor]) -> str:
    """The teacher of class moments beside pictures, empty without them."""
    if not config.moments.encoder:
        return ""
    return PRODUCT if any(has_model(c.architecture) for c in contributors) else MOMENTS


def learnt_beside(
    config: Config, schema: Schema, contributors: Sequence[Contributor], total: int, teachers: Sequence[str]
) -> tuple[list[Job], int]:
    """The jobs of those `teachers` that learn to fuse experts and moments, and the bytes of their stages."""
    jobs = list[Job]()
    disk = 0
    encoder = config.moments.encoder
    if MOMENTS_META in teachers:
        jobs, disk = meta_model(config, schema, contributors, beside=1)
        jobs.append(Job("meta", Unit("encode", encoder), config.meta.samples))
    if MOMENTS_GATE in teachers:
        sources = len([c for c in contributors if c.family]) + 1
        samples = gate_samples(config.distill.gate_samples, sources)
        jobs += gate(config, schema, contributors, total, beside=1) + outputs(GATE, contributors, samples)
        jobs.append(Job(GATE, Unit("encode", encoder), samples))
    return jobs, disk


def meta_model(
    config: Config, schema: Schema, contributors: Sequence[Contributor], beside: int = 0
) -> tuple[list[Job], int]:
    """The meta model's jobs and the bytes of its stage; no jobs and 0 bytes where there is no meta model.

    It fuses so many experts `beside` those of the contributors.
    """
    settings = config.meta
    asked = _asked(schema, contributors)
    experts = len(asked) + beside
    synthetic = settings.source == "synthetic"
    if settings.kind == "none" or (synthetic and not any(c.family for c in contributors)):
        return [], 0
    samples = settings.samples if synthetic else max(1, experts * schema.num_classes * config.prototypes.per_class)
    samples = min(samples, most_samples(experts, schema.num_classes))
    jobs = list[Job]()
    if synthetic:
        jobs = sampling("meta", contributors, samples, balanced=True) + outputs("meta", asked, samples)
    images = (CHECKS + 1) * settings.holdout * samples
    jobs.append(Job("meta", Unit("meta", settings.kind, settings.batch_size, (("experts", experts),)), settings.steps))
    jobs.append(Job("meta", Unit("teachers", "meta", experts), images))
    with torch.random.fork_rng(devices=[]):
        state = MetaTransformer(torch.ones(experts, schema.num_classes), settings).state_dict()
    return jobs, packed_bytes({name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in state.items()})


def gate(config: Config, schema: Schema, contributors: Sequence[Contributor], total: int, beside: int = 0) -> list[Job]:
    """The gate on sources, and on so many experts `beside` them: its samples, its training, and its word on `total`
    samples.
    """
    sources = len([c for c in contributors if c.family]) + beside
    samples = gate_samples(config.distill.gate_samples, sources)
    jobs = sampling(GATE, contributors, samples, balanced=False)
    if sources < 2:
        return jobs
    if uses_trees(schema):
        return [*jobs, Job(GATE, Unit("fixed"), TREE_SECONDS * sources * (samples + total))]
    held_back = round(HOLDOUT * samples)
    settings = network_settings()
    steps = steps_for(samples - held_back, settings)
    network = default_student(schema)
    looks = held_back * (steps / settings.check_every + 1)
    jobs.append(Job(GATE, Unit("train", network, settings.batch_size), steps))
    return [*jobs, Job(GATE, Unit("forward", network), looks), Job("pool", Unit("forward", network), total)]


@dataclass(frozen=True)
class TransferImages:
    """The number of images from generators, the total number of images, and the jobs of making them."""

    generated: int
    total: int
    jobs: list[Job]


def transfer(config: Config, schema: Schema, contributors: Sequence[Contributor]) -> TransferImages:
    """The transfer set of `server.transfer`."""
    settings = config.distill
    prior = settings.prior_pool if has_prior(settings, schema) else 0
    strong = not has_prior(settings, schema) and not any(c.rejects for c in contributors)
    has_generator = any(c.family for c in contributors)
    generated = pool_samples(settings, schema, len(contributors), strong=strong) if has_generator else 0
    jobs = sampling("pool", contributors, generated, balanced=bool(settings.balanced))
    if prior:
        jobs.append(Job("pool", Unit("prior"), prior))
    decoded = decoded_samples(settings, schema) if decodes(config, schema) else 0
    encoder = moments_encoder(config, schema)
    if decoded and encoder is not None and encoder.smooth is not None:
        passes = GRADIENT * settings.inversion * min(decoded, INVERTED)
        jobs.append(Job("pool", Unit("encode", config.moments.encoder), passes))
    plain = generated + decoded if settings.plain or not prior else 0
    return TransferImages(generated, plain + prior, jobs)


def sampling(stage: str, contributors: Sequence[Contributor], count: int, *, balanced: bool) -> list[Job]:
    """The jobs of drawing `count` samples, from each client's generator by its share of the data."""
    with_generator = [c for c in contributors if c.family]
    jobs = list[Job]()
    total = sum(c.samples for c in with_generator)
    for (family, architecture), samples in _samples_by_generator(with_generator).items():
        n = count * samples / max(1, total)
        if architecture:  # the client's expert finds the class of each sample
            n *= DRAWS if balanced else 1
            jobs.append(Job(stage, Unit("forward", architecture), n))
        jobs.append(Job(stage, Unit("sample", family), n))
    return jobs


def outputs(stage: str, contributors: Sequence[Contributor], images: float) -> list[Job]:
    """The jobs of each contributor's expert on so many images."""
    kinds = Counter(c.architecture for c in contributors if not is_black_box(c.architecture))
    return [Job(stage, Unit("forward", name), images * count) for name, count in kinds.items()]


def student_steps(stage: str, config: Config, student: str, total: int, steps: int) -> list[Job]:
    """The steps of a student, and its checks on the hold-out of a pool of `total` images."""
    if is_closed_form(student):  # a square system of equations
        return []
    if is_boosted(student):
        return [Job(f"{BOOSTING} {stage}", Unit("boost", student), total)]
    images = (min(CHECKS, steps) + 1) * config.distill.holdout * total
    step = Unit("student", student, config.distill.batch_size)
    return [Job(stage, step, steps), Job(stage, Unit("forward", global_name(student)), images)]


def pool_bytes(schema: Schema, images: int, teachers: int) -> int:
    """Bytes of a transfer set's images, labels and sources, and of the outputs of so many teachers."""
    return images * (prod(schema.shape) + 16 + 4 * schema.num_classes * teachers)


def _samples_by_generator(contributors: Sequence[Contributor]) -> Counter[tuple[str, str]]:
    """Samples by (family, architecture that rejects samples of wrong classes or "" for a conditional generator)."""
    samples: Counter[tuple[str, str]] = Counter()
    for contributor in contributors:
        architecture = contributor.architecture if contributor.rejects else ""
        samples[contributor.family, architecture] += contributor.samples
    return samples
