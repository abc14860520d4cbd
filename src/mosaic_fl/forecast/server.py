"""The server's work of Mosaic, counted: meta model, transfer set, student."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

import torch

from mosaic_fl.config import Config
from mosaic_fl.domains.schema import Schema
from mosaic_fl.forecast.sizes import model_bytes, packed
from mosaic_fl.forecast.work import Job, Unit
from mosaic_fl.registries import GENERATORS
from mosaic_fl.server.meta import MetaTransformer
from mosaic_fl.server.recipes import candidates
from mosaic_fl.server.student import CHECKS
from mosaic_fl.server.transfer import has_prior, pool_samples, suits_generators

REJECTED = 3.0  # samples that a generator draws for one of the class asked for, where it cannot be asked
COPIES = 3.0  # of the transfer set at once, while it is written: itself, what is packed, and the file's bytes
READ_AND_WRITTEN = 2.0  # how often a stage's bytes pass


@dataclass(frozen=True)
class Contributor:
    """Who sends a contribution: its architecture, its generator's family or "" for none, its training samples."""

    architecture: str
    family: str
    samples: int

    @property
    def rejects(self) -> bool:
        """Whether its generator cannot be asked for a class: its expert says what a sample shows."""
        return bool(self.family) and not GENERATORS.received(self.family).conditional


@dataclass(frozen=True)
class ServerWork:
    """Jobs of the server; bytes of its stages on disk, and of what it holds at once; `tried` candidate students."""

    jobs: list[Job] = field(default_factory=list)
    disk: int = 0
    pools: int = 0
    tried: int = 0


def distillation(
    config: Config, schema: Schema, contributors: Sequence[Contributor], student: str, *, judged: bool
) -> ServerWork:
    """The work of `server.distill`; with `judged`, clients can score candidates where `distill.choose` asks them."""
    settings = config.distill
    classes = schema.num_classes
    experts = len(contributors)
    jobs, disk = meta_model(config, schema, contributors)
    images = transfer(config, schema, contributors)
    total = images.total
    meta = bool(jobs)
    jobs += images.jobs + outputs("pool", contributors, total)
    best = "meta" if meta else "class_weighted"
    teacher = best if settings.teacher == "auto" else settings.teacher
    used = sorted({best, "class_weighted", teacher, *settings.candidates})
    jobs += [Job("pool", Unit("teachers", name, experts), total) for name in [*used, "evened"]]
    stage = pool_bytes(schema, total, len(used))
    jobs.append(Job("pool", Unit("packing"), READ_AND_WRITTEN * stage))
    tried = candidates(settings, best, labelled=images.drawn > 0) if judged and settings.choose else []
    short = max(1, round(settings.candidate_share * settings.steps))
    for recipe in tried:
        jobs += student_steps(f"candidate-{recipe.name}", config, student, total, short)
    jobs += student_steps("student", config, student, total, settings.steps)
    if settings.fresh:
        new = settings.steps * settings.batch_size
        jobs += drawing("student", contributors, new, balanced=settings.balanced)
        jobs += [*outputs("student", contributors, new), Job("student", Unit("teachers", teacher, experts), new)]
    held = round(4 * total * experts * classes)
    size = model_bytes(student, schema)
    return ServerWork(jobs, disk + stage + 2 * size, round(COPIES * stage) + held, len(tried))


def meta_model(config: Config, schema: Schema, contributors: Sequence[Contributor]) -> tuple[list[Job], int]:
    """The meta model's work and the bytes of its stage; nothing where there is none."""
    settings = config.meta
    experts = len(contributors)
    synthetic = settings.source == "synthetic"
    if settings.kind == "none" or (synthetic and not any(c.family for c in contributors)):
        return [], 0
    samples = settings.samples if synthetic else max(1, experts * schema.num_classes * config.prototypes.per_class)
    jobs = list[Job]()
    if synthetic:
        jobs = drawing("meta", contributors, samples, balanced=True) + outputs("meta", contributors, samples)
    looks = (CHECKS + 1) * settings.holdout * samples
    jobs.append(Job("meta", Unit("meta", settings.kind, settings.batch_size, (("experts", experts),)), settings.steps))
    jobs.append(Job("meta", Unit("teachers", "meta", experts), looks))
    with torch.random.fork_rng(devices=[]):
        state = MetaTransformer(torch.ones(experts, schema.num_classes), settings).state_dict()
    return jobs, packed({name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in state.items()})


@dataclass(frozen=True)
class TransferImages:
    """How many images are drawn from generators, how many there are in all, and the work of making them."""

    drawn: int
    total: int
    jobs: list[Job]


def transfer(config: Config, schema: Schema, contributors: Sequence[Contributor]) -> TransferImages:
    """The transfer set of `server.transfer`."""
    settings = config.distill
    prior = settings.prior_pool if has_prior(settings, schema) else 0
    strong = suits_generators(settings, schema) and not any(c.rejects for c in contributors)
    having = any(c.family for c in contributors)
    drawn = pool_samples(settings, schema, len(contributors), strong=strong) if having else 0
    jobs = drawing("pool", contributors, drawn, balanced=settings.balanced)
    if prior:
        jobs.append(Job("pool", Unit("prior"), prior))
    plain = drawn if settings.plain or not prior else 0
    return TransferImages(drawn, plain + prior, jobs)


def drawing(stage: str, contributors: Sequence[Contributor], count: int, *, balanced: bool) -> list[Job]:
    """`count` samples of the clients' generators, from each by its share of the data."""
    having = [c for c in contributors if c.family]
    jobs = list[Job]()
    total = sum(c.samples for c in having)
    for (family, architecture), samples in _grouped(having).items():
        n = count * samples / max(1, total)
        if architecture:  # its client's expert says what it shows
            n *= REJECTED if balanced else 1
            jobs.append(Job(stage, Unit("forward", architecture), n))
        jobs.append(Job(stage, Unit("sample", family), n))
    return jobs


def outputs(stage: str, contributors: Sequence[Contributor], images: float) -> list[Job]:
    """Each contributor's expert on so many images."""
    kinds = Counter(c.architecture for c in contributors)
    return [Job(stage, Unit("forward", name), images * count) for name, count in kinds.items()]


def student_steps(stage: str, config: Config, student: str, total: int, steps: int) -> list[Job]:
    """The steps of a student, and its looks at the hold-out of a pool of `total` images."""
    looks = (min(CHECKS, steps) + 1) * config.distill.holdout * total
    step = Unit("student", student, config.distill.batch_size)
    return [Job(stage, step, steps), Job(stage, Unit("forward", student), looks)]


def pool_bytes(schema: Schema, images: int, teachers: int) -> int:
    """Bytes of a transfer set's images, labels and sources, and of what so many teachers say of them."""
    return images * (prod(schema.shape) + 16 + 4 * schema.num_classes * teachers)


def _grouped(contributors: Sequence[Contributor]) -> Counter[tuple[str, str]]:
    """Samples by family, and by the architecture that rejects what is drawn, "" where none has to."""
    samples: Counter[tuple[str, str]] = Counter()
    for each in contributors:
        samples[each.family, each.architecture if each.rejects else ""] += each.samples
    return samples
