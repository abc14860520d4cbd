"""The server's whole work: contributions in, one global model out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.config import Config
from mosaic_fl.domains.samples import to_tensors
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.experts.closed_form import is_closed_form
from mosaic_fl.experts.kind import Expert
from mosaic_fl.server.agreement import compatible
from mosaic_fl.server.asking import tell_of_asking
from mosaic_fl.server.assurance import Losses, assured
from mosaic_fl.server.choices import Choices
from mosaic_fl.server.class_moments import tells
from mosaic_fl.server.classroom import FIELD, SECOND, Classroom, Course, Judge, Product
from mosaic_fl.server.experts import MixtureOfExperts
from mosaic_fl.server.feature_space import FeatureSpace, feature_space, space_teacher, with_moments
from mosaic_fl.server.fusion import gate, meta_model, with_learnt
from mosaic_fl.server.growth import AGREEMENT, FOLLOWS, goes_on
from mosaic_fl.server.joining import sampler_of
from mosaic_fl.server.panel import panel
from mosaic_fl.server.pool import Sampler
from mosaic_fl.server.private import require_private
from mosaic_fl.server.recipes import (
    ENSEMBLES,
    TEACHABLE,
    Recipe,
    choose,
    is_in_doubt,
    label_shares,
    with_moments_prior,
    with_prior,
)
from mosaic_fl.server.recognition import Recognition, is_measured, recognition
from mosaic_fl.server.sieve import sieve_of, sifted_sampler_of
from mosaic_fl.server.standing import STUDENT, TEACHERS, Tally, sample_accuracies, teacher_accuracies, tell_if_behind
from mosaic_fl.server.teachers import GATE, READ_MOMENTS, Teachers
from mosaic_fl.server.transfer import UNLABELLED, transfer_set
from mosaic_fl.server.trust.credit import credited
from mosaic_fl.server.trust.vet import vet
from mosaic_fl.storage.journal import Journal
from mosaic_fl.training.monitor import Monitor


@dataclass(frozen=True)
class Distilled:
    """The global model, all clients' own models, and the teachers over the models of those that count (see `trust`).

    `holdout` holds the student's figures on part of the transfer set that it did not learn from, `choice` the teacher
    and the label's mean share that taught it, in how many terms, and the scores of candidates and teachers where
    clients were asked; `samples` how many of the transfer set came from where, `candidates` how many models were shown
    to the judge, `generators` which generator each contribution has and why, in the order of `clients`.
    `contributions` are those that the teachers are of, as they count.
    """

    model: GlobalModel
    clients: MixtureOfExperts
    teachers: Teachers
    holdout: dict[str, float]
    choice: dict[str, Any]
    samples: dict[str, int]
    candidates: int
    generators: list[str]
    contributions: tuple[Contribution, ...] = ()


def distill(
    contributions: Sequence[Contribution],
    config: Config,
    device: torch.device,
    journal: Journal,
    start: Mapping[str, Mapping[str, Tensor]] | None = None,
    judge: Judge | None = None,
    tally: Tally = lambda _: {},
    boxes: Mapping[int, Expert] = MappingProxyType({}),
    losses: Losses | None = None,
) -> Distilled:
    """Mixture of experts -> meta model -> transfer set -> student; each a stage of `journal`.

    Each expert and each generator is built once. The student begins with the weights that `start` has for its
    architecture, if any (the paper's pre-federated model). With a `judge`, short students decide how the real one is
    taught, and the real one is judged after each of its terms, as `config.distill.choose` says. Where generators are
    weak and it does not follow its teacher, a second one learns from prior samples alone, and the better of the two
    serves. Contributions that others contradict count in part or not at all, as `config.trust` says. A note says where
    the student stays behind: on the clients' validation splits, where `tally` counts, or without a `judge` on new
    samples of the generators. `losses` asks the judging clients once how sure the model should be. The order of the
    contributions does not matter. Raises UsageError where they are none, do not share one schema, two come from one
    client, or there is nothing to distil on.
    """
    contributions = compatible(contributions)
    require_private(contributions, config)
    everyone = MixtureOfExperts.of(contributions, boxes)
    lines = [c.generator_line for c in contributions]
    sampler = cache(partial(sampler_of, contributions, device, everyone.experts))
    trust = vet(contributions, everyone.experts, sampler, config, device, journal)
    clients = everyone
    sieve = sieve_of(contributions, trust)
    if trust is not None and not trust.changes_nothing:
        contributions = credited(contributions, trust)
        clients = everyone.credited(contributions)
    if clients is not everyone or sieve is not None:
        sampler = cache(partial(sifted_sampler_of, contributions, device, clients.experts, sieve))
    space = feature_space(contributions, config.moments.encoder)
    schema = contributions[0].schema
    averaging = config.experts.kind == "class_average"
    asked = contributions if averaging else panel(contributions)
    of_panel = clients if asked is contributions else clients.credited(asked)
    mixture = MixtureOfExperts.class_average(contributions) if averaging else of_panel.ready()
    of_asked = cache(partial(sifted_sampler_of, asked, device, mixture.experts, sieve))
    sampler_of_asked = sampler if asked is contributions else of_asked
    measure = _measure(contributions, clients, sampler, config, device, journal)
    config = with_prior(config, schema, measure)
    if space is not None and all(c.generator is None for c in contributions):
        config = with_moments_prior(config, schema)
    settings = config.distill
    has_moments = any(map(tells, contributions))
    has_gate = not (averaging or schema.joins or has_moments) and any(c.generator is not None for c in contributions)
    judged = judge is not None and not is_closed_form(config.models.student)
    choices = Choices(
        settings, schema, measure, clients.weights, has_gate, judged, has_moments, space_teacher(space, contributions)
    )
    jury = judge if choices.asked else None
    meta = meta_model(contributions, mixture, sampler, config, device, journal) if choices.needs_meta else None
    best = choices.best(meta=meta is not None)
    teachers = Teachers(mixture, meta)
    tried = choices.tried(best, meta=meta is not None) if jury is not None else []
    names = {best if settings.teacher == "auto" else settings.teacher, *tried}
    if GATE in names:
        teachers = replace(teachers, gate=gate(asked, sampler_of_asked, config, device, journal))
    if READ_MOMENTS & names:
        teachers = with_moments(teachers, contributions, space)
        teachers = with_learnt(teachers, names, asked, space, sampler_of_asked, config, device, journal)
    make_pool = partial(_pool, contributions, teachers, names, sampler, config, device, space)
    pool = journal.stage("pool", make_pool)
    teachers = replace(teachers, bias=pool.tensors["bias"])
    shares = label_shares(settings, measure, clients.weights, [c.client for c in contributions])
    classroom = Classroom(config, contributions, teachers, pool.tensors, shares, sampler, device, start or {}, space)
    recipe = choices.default(best, classroom.default_recipe(best))
    choice: dict[str, Any] = {"teacher": recipe.teacher, "label": recipe.label}
    recipes = list[Recipe]()
    if jury is not None:
        recipes = choices.candidates(recipe, tried, labelled=bool((pool.tensors["labels"] >= 0).any()))
        recipe, choice = choose(recipes, lambda trial: classroom.audition(trial, jury, journal), recipe)
    course = classroom.course(recipe, jury, journal)
    trials = len(recipes) + course.trials
    second = None if measure is None else _second_course(classroom, course, recipe.teacher, measure, jury, journal)
    if second is not None:
        trials += second.trials
        if second.best.beats(course.best):
            course = second
            choice |= {"label": 0.0, "prior_alone": True}
    if course.best.score is not None:
        standing = journal.stage("standing", lambda _: ({}, teacher_accuracies(teachers, names, tally, device))).info
        choice |= {"teachers": standing}
        if not schema.of_rows:  # there the score is no accuracy
            tell_if_behind(course.best.score, standing, gains=goes_on(course.terms))
    elif judge is None and measure is not None and not schema.of_rows:
        choice |= _on_samples(classroom, course, recipe.teacher, measure, journal)
        if space is None and is_in_doubt(settings, measure):
            choice |= {"asking": asdict(tell_of_asking(measure.mean))}
    if space is not None:
        choice |= {"moments": space.report}
    if trust is not None:
        choice |= {"trust": trust.to_json()}
    losses = None if jury is None else losses
    return Distilled(
        assured(classroom, course.state, recipe.teacher, pool.info, losses, journal),
        everyone,
        teachers,
        dict(course.best.figures),
        choice | {"terms": len(course.terms), "recognised": None if measure is None else round(measure.mean, 6)},
        pool.info,
        trials + (losses is not None),
        lines,
        tuple(contributions),
    )


def _second_course(
    classroom: Classroom, course: Course, teacher: str, measure: Recognition, jury: Judge | None, journal: Journal
) -> Course | None:
    """Another student, of prior samples alone, where clients can compare it with that of `course`; None without a need.

    There is one where generators are so weak that they taught a student not to follow its teacher. Whether the student
    is behind its teachers on real data does not decide: over a network nobody can count that.
    """
    settings = classroom.config.distill
    has_prior = settings.plain and bool((classroom.pool["labels"] == UNLABELLED).any())
    follows = course.best.figures.get(AGREEMENT, 1.0) >= FOLLOWS
    if not (settings.retry and has_prior) or follows or course.best.score is None or measure.mean >= TEACHABLE:
        return None
    return classroom.course(Recipe(teacher, 0.0, prior_alone=True), jury, journal, SECOND)


def _measure(
    contributions: Sequence[Contribution],
    clients: MixtureOfExperts,
    sampler: Callable[[], Sampler],
    config: Config,
    device: torch.device,
    journal: Journal,
) -> Recognition | None:
    """What clients' experts recognise of their own generators' samples; None where that says nothing.

    So it is for a generator that takes no label: its sample's class is its expert's word.
    """
    if not is_measured(contributions, config):
        return None

    def measure(_: Monitor) -> Product:
        result = recognition(sampler(), clients.experts, config.run.seed, device)
        return ({}, {}) if result is None else ({"rates": result.rates}, {"mean": result.mean})

    stage = journal.stage("recognition", measure)
    return Recognition(stage.tensors["rates"], stage.info["mean"]) if stage.info else None


def _on_samples(
    classroom: Classroom, course: Course, teacher: str, measure: Recognition, journal: Journal
) -> dict[str, Any]:
    """How the student stands against its `teacher` and every ensemble on new samples, where nobody can be asked."""
    teachers = classroom.teachers
    names = {teacher, *ENSEMBLES, *(["meta"] if teachers.meta is not None else [])}
    student = classroom.model(course.state)
    sampler = classroom.sampler
    seed = classroom.config.run.seed

    def compare(_: Monitor) -> Product:
        return {}, sample_accuracies(student, teachers, names, sampler(), measure, seed, classroom.device)

    figures = journal.stage("standing", compare).info
    if figures:
        tell_if_behind(figures[STUDENT], figures[TEACHERS], gains=goes_on(course.terms), synthetic=True)
    return figures


def _pool(
    contributions: Sequence[Contribution],
    teachers: Teachers,
    names: set[str],
    sampler: Callable[[], Sampler],
    config: Config,
    device: torch.device,
    space: FeatureSpace | None,
    monitor: Monitor,
) -> Product:
    """The transfer set, and on it the log-probabilities of each teacher of `names`."""
    transfer = transfer_set(contributions, config.distill, config.run.seed, device, sampler, space, monitor)
    evened, answers = teachers.over(names, transfer.samples, device)
    tensors = {f"teacher/{name}": answer for name, answer in answers.items()}
    assert evened.bias is not None
    tensors |= to_tensors(transfer.samples, FIELD)
    tensors |= {"labels": transfer.labels, "sources": transfer.sources, "bias": evened.bias}
    return tensors, transfer.counts()
