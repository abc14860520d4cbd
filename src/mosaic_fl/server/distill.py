"""The server's whole work: contributions in, one global model out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from mosaic_fl.config import Config
from mosaic_fl.domains.samples import from_tensors, to_tensors
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.models import build, default_student
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.server.experts import MixtureOfExperts
from mosaic_fl.server.meta import MetaTransformer
from mosaic_fl.server.meta_training import train_meta
from mosaic_fl.server.pool import Sampler
from mosaic_fl.server.prototypes import prototype_outputs
from mosaic_fl.server.recipes import Recipe, candidates, choose, given_recipe, overlap
from mosaic_fl.server.student import Lesson, train_student
from mosaic_fl.server.teachers import Teachers
from mosaic_fl.server.transfer import strong_generators, transfer_set
from mosaic_fl.storage.journal import Journal
from mosaic_fl.training.monitor import Monitor

FIELD = "sample/"  # begins the names of the pool's fields in its stage
Product = tuple[dict[str, Tensor], dict[str, Any]]
Judge = Callable[[GlobalModel], float | None]
"""Scores a candidate model in 0..1; higher is better. None where there is nobody to judge it."""


@dataclass(frozen=True)
class Distilled:
    """The global model, the clients' own models, and the teachers over the mixture of experts.

    `holdout` holds the student's figures on part of the transfer set that it did not learn from, `choice` the teacher
    and the label's share that taught it (with the candidates' scores, where they were tried), `samples` how many of
    the transfer set came from where, `candidates` how many models were shown to the judge, `generators` which generator
    each contribution has and why, in the order of `clients`.
    """

    model: GlobalModel
    clients: MixtureOfExperts
    teachers: Teachers
    holdout: dict[str, float]
    choice: dict[str, Any]
    samples: dict[str, int]
    candidates: int
    generators: list[str]


def distill(
    contributions: Sequence[Contribution],
    config: Config,
    device: torch.device,
    journal: Journal,
    start: Mapping[str, Mapping[str, Tensor]] | None = None,
    judge: Judge | None = None,
) -> Distilled:
    """Mixture of experts -> meta model -> transfer set -> student; each a stage of `journal`.

    Each expert and each generator is built once. The student begins with the weights that `start` has for its
    architecture, if any (the paper's pre-federated model). With a `judge` and `config.distill.choose` some short
    students decide how the real one is taught. The order of the contributions does not matter. Raises UsageError where
    they are none, do not share one schema, two come from one client, or there is nothing to distil on.
    """
    contributions = compatible(contributions)
    schema = contributions[0].schema
    seed = config.run.seed
    settings = config.distill
    architecture = config.models.student or default_student(schema)
    clients = MixtureOfExperts.of(contributions)
    averaging = config.experts.kind == "class_average"
    mixture = MixtureOfExperts.class_average(contributions) if averaging else clients
    sampler = cache(lambda: Sampler(contributions, device, clients.experts))
    teachers = Teachers(mixture, _meta_model(contributions, mixture, sampler, config, device, journal))
    shared = overlap(clients.weights) if strong_generators(contributions, settings) else 1.0
    given = given_recipe(settings, teachers.best, shared)

    def gather(monitor: Monitor) -> Product:
        made = transfer_set(contributions, settings, seed, device, sampler)
        outputs = mixture.outputs(made.samples, device)
        evened = teachers.evened_over(outputs)
        used = sorted({teachers.best, "class_weighted", given.teacher, *settings.candidates})
        taught = {f"teacher/{name}": evened.log_probabilities(name, outputs) for name in used}
        assert evened.bias is not None
        taught |= to_tensors(made.samples, FIELD)
        taught |= {"labels": made.labels, "sources": made.sources, "bias": evened.bias}
        return taught, made.counts()

    def fresh(recipe: Recipe) -> Callable[[int], Lesson]:
        """Batches of new samples, as the paper draws them: one a step, each asked of the teacher once."""
        draw = sampler().draw if settings.balanced else sampler().draw_as_they_come

        def at(step: int) -> Lesson:
            made = draw(settings.batch_size, Stream(seed, "fresh", round=step))
            taught = teachers.log_probabilities(recipe.teacher, mixture.outputs(made.samples, device))
            return Lesson(made.samples, made.labels, taught)

        return at

    pool = journal.stage("pool", gather)
    if not settings.fresh:
        sampler.cache_clear()  # nothing is drawn any more
    teachers = replace(teachers, bias=pool.tensors["bias"])
    labelled = bool((pool.tensors["labels"] >= 0).any())

    def teach(recipe: Recipe, steps: int, monitor: Monitor) -> Product:
        with Stream(seed, "student-init").ambient():
            student = build(architecture, schema)
        if start and architecture in start:
            student.load_state_dict(dict(start[architecture]))
        samples = from_tensors(schema.fields, pool.tensors, FIELD)
        lesson = Lesson(samples, pool.tensors["labels"], pool.tensors[f"teacher/{recipe.teacher}"])
        taught = recipe.applied(settings).model_copy(update={"steps": steps})
        source = fresh(recipe) if settings.fresh else None
        holdout = train_student(student, lesson, taught, Stream(seed, "student"), device, monitor, source)
        return copy_state(student), {"holdout": holdout}

    def score(recipe: Recipe) -> float | None:
        def audition(monitor: Monitor) -> Product:
            assert judge is not None
            state, info = teach(recipe, max(1, round(settings.candidate_share * settings.steps)), monitor)
            return {}, info | {"score": judge(GlobalModel(architecture, schema, state))}

        judged: float | None = journal.stage(f"candidate-{recipe.name}", audition).info["score"]
        return judged

    recipe = given
    tried = list[Recipe]()
    choice: dict[str, Any] = {"teacher": recipe.teacher, "label": recipe.label}
    if judge is not None and settings.choose:
        tried = candidates(settings, teachers.best, labelled=labelled)
        recipe, choice = choose(tried, score, recipe)
    taught = journal.stage("student", lambda monitor: teach(recipe, settings.steps, monitor))
    model = GlobalModel(architecture, schema, taught.tensors)
    sent = [c.generator_line for c in contributions]
    return Distilled(model, clients, teachers, taught.info["holdout"], choice, pool.info, len(tried), sent)


def _meta_model(
    contributions: Sequence[Contribution],
    mixture: MixtureOfExperts,
    sampler: Callable[[], Sampler],
    config: Config,
    device: torch.device,
    journal: Journal,
) -> nn.Module | None:
    """The trained meta model; None where the configuration has none, or there are no samples to train it on."""
    from_samples = config.meta.source == "synthetic"
    if config.meta.kind == "none" or (from_samples and all(c.generator is None for c in contributions)):
        return None

    def learn(monitor: Monitor) -> Product:
        if from_samples:
            stream = Stream(config.run.seed, "meta-samples")
            drawn = sampler().draw(config.meta.samples, stream)
            outputs = mixture.outputs(drawn.samples, device)
            labels = drawn.labels
        else:
            outputs, labels = prototype_outputs(contributions, mixture)
        model = train_meta(outputs, labels, mixture.weights, config.meta, config.run.seed, device, monitor)
        return copy_state(model), {}

    with torch.random.fork_rng(devices=[]):
        meta = MetaTransformer(mixture.weights, config.meta)
    meta.load_state_dict(journal.stage("meta", learn).tensors)
    return meta.eval()


def compatible(contributions: Sequence[Contribution]) -> list[Contribution]:
    """The contributions in the order of their clients; raises UsageError unless they can be fused."""
    if not contributions:
        raise UsageError("there is no contribution to distil")
    ordered = sorted(contributions, key=lambda c: c.client)
    for before, after in pairwise(ordered):
        if before.client == after.client:
            raise UsageError(f"two contributions come from client {after.client}: give every client its own --client")
        if before.schema != after.schema:
            raise UsageError(
                f"client {after.client} has {after.schema.difference(before.schema)} as client {before.client}: every "
                "site must give the same --classes (by name where they are folders) and image size"
            )
    return ordered
