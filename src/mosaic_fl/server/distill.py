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
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.models import build, default_student
from mosaic_fl.notes import note
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State, copy_state
from mosaic_fl.server.experts import MixtureOfExperts
from mosaic_fl.server.meta import MetaTransformer
from mosaic_fl.server.meta_training import few_enough, train_meta
from mosaic_fl.server.pool import Sampler
from mosaic_fl.server.prototypes import prototype_outputs
from mosaic_fl.server.recipes import Recipe, best_teacher, candidates, choose, given_recipe, needs_meta, overlap
from mosaic_fl.server.recognition import RECOGNISED, recognition
from mosaic_fl.server.student import Lesson, train_student
from mosaic_fl.server.teachers import Teachers
from mosaic_fl.server.transfer import FALLBACK, has_prior, strong_generators, transfer_set
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
    clients = MixtureOfExperts.of(contributions)
    averaging = config.experts.kind == "class_average"
    mixture = MixtureOfExperts.class_average(contributions) if averaging else clients
    sampler = cache(lambda: Sampler(contributions, device, clients.experts))
    config = _with_prior(contributions, clients, sampler, config, device)
    settings = config.distill
    meta = None
    if needs_meta(settings, schema):
        meta = _meta_model(contributions, mixture, sampler, config, device, journal)
    teachers = Teachers(mixture, meta)
    best = best_teacher(settings, schema, meta=meta is not None)
    shared = overlap(clients.weights) if strong_generators(contributions, settings) else 1.0
    default = given_recipe(settings, best, shared)
    pool = journal.stage("pool", lambda _: _pool(contributions, teachers, default, best, sampler, config, device))
    teachers = replace(teachers, bias=pool.tensors["bias"])
    if not settings.fresh:
        sampler.cache_clear()  # nothing is drawn any more
    classroom = _Classroom(config, schema, teachers, pool.tensors, sampler, device, start or {})
    recipe = default
    trials = list[Recipe]()
    choice: dict[str, Any] = {"teacher": recipe.teacher, "label": recipe.label}
    if judge is not None and settings.choose:
        trials = candidates(settings, best, labelled=bool((pool.tensors["labels"] >= 0).any()))
        recipe, choice = choose(trials, lambda trial: classroom.audition(trial, judge, journal), recipe)
    lesson = journal.stage("student", lambda monitor: classroom.teach(recipe, settings.steps, monitor))
    model = classroom.model(lesson.tensors)
    generators = [c.generator_line for c in contributions]
    return Distilled(model, clients, teachers, lesson.info["holdout"], choice, pool.info, len(trials), generators)


def _with_prior(
    contributions: Sequence[Contribution],
    clients: MixtureOfExperts,
    sampler: Callable[[], Sampler],
    config: Config,
    device: torch.device,
) -> Config:
    """The configuration, with prior images where it leaves them open and the generators turn out to be weak.

    So a kind of samples that small generators usually draw well is not taken on trust.
    """
    settings = config.distill
    photos = settings.model_copy(update={"prior": FALLBACK})
    open_to_prior = settings.prior == "auto" and not settings.fresh and has_prior(photos, contributions[0].schema)
    some = any(c.generator is not None for c in contributions)
    if not (open_to_prior and some and strong_generators(contributions, settings)):
        return config
    share = recognition(sampler(), clients.experts, config.run.seed, device)
    if share >= RECOGNISED:
        return config
    note(
        f"clients' models recognise {share:.0%} of what their own generators draw: the student learns from prior "
        "images, too; more generator.steps may help"
    )
    return config.with_values({"distill.prior": FALLBACK})


def _pool(
    contributions: Sequence[Contribution],
    teachers: Teachers,
    default: Recipe,
    best: str,
    sampler: Callable[[], Sampler],
    config: Config,
    device: torch.device,
) -> Product:
    """The transfer set, and on it the log-probabilities of each teacher that may be asked."""
    settings = config.distill
    transfer = transfer_set(contributions, settings, config.run.seed, device, sampler)
    names = {default.teacher, best, "class_weighted", *settings.candidates}
    evened, answers = teachers.over(names, transfer.samples, device)
    tensors = {f"teacher/{name}": answer for name, answer in answers.items()}
    assert evened.bias is not None
    tensors |= to_tensors(transfer.samples, FIELD)
    tensors |= {"labels": transfer.labels, "sources": transfer.sources, "bias": evened.bias}
    return tensors, transfer.counts()


@dataclass(frozen=True)
class _Classroom:
    """Where students are taught by the `teachers` on the tensors of a `pool`; `start` as in `distill`."""

    config: Config
    schema: Schema
    teachers: Teachers
    pool: Mapping[str, Tensor]
    sampler: Callable[[], Sampler]
    device: torch.device
    start: Mapping[str, Mapping[str, Tensor]]

    @property
    def architecture(self) -> str:
        """The students' architecture."""
        return self.config.models.student or default_student(self.schema)

    def model(self, state: State) -> GlobalModel:
        """A student's weights as a global model."""
        return GlobalModel(self.architecture, self.schema, state)

    def teach(self, recipe: Recipe, steps: int, monitor: Monitor) -> Product:
        """The weights of a student after so many steps by the recipe, and its figures on the hold-out."""
        settings = self.config.distill
        seed = self.config.run.seed
        with Stream(seed, "student-init").ambient():
            student = build(self.architecture, self.schema)
        if self.architecture in self.start:
            student.load_state_dict(dict(self.start[self.architecture]))
        samples = from_tensors(self.schema.fields, self.pool, FIELD)
        lesson = Lesson(samples, self.pool["labels"], self.pool[f"teacher/{recipe.teacher}"])
        weights = recipe.applied(settings).model_copy(update={"steps": steps})
        source = self._fresh(recipe) if settings.fresh else None
        holdout = train_student(student, lesson, weights, Stream(seed, "student"), self.device, monitor, source)
        return copy_state(student), {"holdout": holdout}

    def audition(self, recipe: Recipe, judge: Judge, journal: Journal) -> float | None:
        """What the judge says of a short student that was taught by the recipe."""
        settings = self.config.distill
        steps = max(1, round(settings.candidate_share * settings.steps))

        def attempt(monitor: Monitor) -> Product:
            state, info = self.teach(recipe, steps, monitor)
            return {}, info | {"score": judge(self.model(state))}

        score: float | None = journal.stage(f"candidate-{recipe.name}", attempt).info["score"]
        return score

    def _fresh(self, recipe: Recipe) -> Callable[[int], Lesson]:
        """Batches of new samples, as the paper draws them: one a step, of which the teacher is asked once."""
        settings = self.config.distill
        mixture = self.teachers.mixture
        draw = self.sampler().draw if settings.balanced else self.sampler().draw_as_they_come

        def at(step: int) -> Lesson:
            batch = draw(settings.batch_size, Stream(self.config.run.seed, "fresh", round=step))
            outputs = mixture.outputs(batch.samples, self.device)
            return Lesson(batch.samples, batch.labels, self.teachers.log_probabilities(recipe.teacher, outputs))

        return at


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
            count = few_enough(config.meta.samples, mixture.weights)
            pool = sampler().draw(count, Stream(config.run.seed, "meta-samples"))
            outputs = mixture.outputs(pool.samples, device)
            labels = pool.labels
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
