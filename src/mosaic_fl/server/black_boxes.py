"""Distillation with black boxes: the settings that it needs, and what it will ask them, drawn beforehand."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial

import torch

from mosaic_fl.config import Config
from mosaic_fl.domains.samples import Samples, concatenate
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.experts.answers.book import AnswerBook
from mosaic_fl.experts.answers.kind import is_black_box
from mosaic_fl.experts.kind import Expert
from mosaic_fl.notes import Note, note
from mosaic_fl.server import recognition, standing
from mosaic_fl.server.choices import Choices
from mosaic_fl.server.experts import MixtureOfExperts
from mosaic_fl.server.feature_space import feature_space, space_teacher
from mosaic_fl.server.gate import draw_for_gate, generator_rows
from mosaic_fl.server.joining import sampler_of
from mosaic_fl.server.meta_samples import draw_for_meta, learns_on_samples
from mosaic_fl.server.pool import Sampler
from mosaic_fl.server.recipes import with_moments_prior, with_prior
from mosaic_fl.server.recognition import Recognition, is_measured
from mosaic_fl.server.teachers import MOMENTS_GATE, MOMENTS_META
from mosaic_fl.server.transfer import transfer_set
from mosaic_fl.server.trust.credit import credited
from mosaic_fl.server.trust.vet import examine


def check_settings(config: Config, architectures: Sequence[str]) -> None:
    """Raise UsageError for settings with which a black box would be asked at each step of the student."""
    if config.distill.fresh and (box := next(filter(is_black_box, architectures), None)):
        raise UsageError(
            f"distill.fresh draws new samples at each step, and a black box (model {box!r}) would be asked each time: "
            "set distill.fresh = false"
        )


def settle(contributions: Sequence[Contribution], config: Config) -> Config:
    """The settings for these contributions: with a black box, one term alone. A note says so.

    Later terms draw samples of their own, about which sites would be asked again. Raises UsageError for settings and
    contributions with which a black box would be asked again and again.
    """
    boxes = [c for c in contributions if c.is_black_box]
    if not boxes:
        return config
    check_settings(config, [c.architecture for c in boxes])
    for box in boxes:
        if box.generator_spec is not None and not box.generator_spec.conditional:
            raise UsageError(
                f"client {box.client} is a black box with a generator {box.generator_spec.family}, whose samples have "
                "the class that the client's model says, and this is not here: send one that takes a class, as cvae"
            )
    if config.distill.terms == 1:
        return config
    note(
        f"the student learns for one term, not up to distill.terms = {config.distill.terms}: for another one the black "
        f"box of client {boxes[0].client} would be asked again"
    )
    return config.with_values({"distill.terms": 1})


def questions(
    contributions: Sequence[Contribution],
    books: Mapping[int, AnswerBook],
    config: Config,
    device: torch.device,
    *,
    judged: bool = False,
) -> dict[int, Samples]:
    """What this distillation will ask black boxes and is not in their books, by client; `contributions` in order.

    It is drawn as `distill` will draw it. How well generators are recognised decides how many prior samples there are
    and who teaches; while a black box has not said what it recognises, the other experts' figure stands for it. So
    there is nothing left to ask after the first round, or after the second where it moved that figure. `judged` says
    whether clients can be asked how to teach.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Note)  # the distillation itself says them
        asked = _draws(contributions, books, config, device, judged=judged)
    missing = {client: books[client].missing(samples) for client, samples in asked.items()}
    return {client: samples for client, samples in missing.items() if len(samples)}


def _draws(
    contributions: Sequence[Contribution],
    books: Mapping[int, AnswerBook],
    config: Config,
    device: torch.device,
    *,
    judged: bool,
) -> dict[int, Samples]:
    """All samples about which each black box is asked that is not in quarantine."""
    schema = contributions[0].schema
    mixture = MixtureOfExperts.of(contributions, books)
    sampler = cache(partial(sampler_of, contributions, device, mixture.experts))
    if config.trust.defence:
        report = examine(contributions, mixture.experts, sampler, config, device)
        if not report.changes_nothing:
            contributions = credited(contributions, report)
            books = {c.client: books[c.client] for c in contributions if c.client in books}
            if not books:
                return {}
            mixture = mixture.credited(contributions)
            sampler = cache(partial(sampler_of, contributions, device, mixture.experts))
    seed = config.run.seed
    own = dict[int, Samples]()
    shared = list[Samples]()
    measure = None
    if is_measured(contributions, config):
        drawn = recognition.draw(sampler(), seed)
        own = {client: drawn.samples[drawn.sources == client] for client in books}
        measure = _foresee(sampler, mixture.experts, own, seed, device)
        if not (schema.of_rows or judged):
            shared.append(standing.draw(sampler(), seed).samples)
    config = with_prior(config, schema, measure)
    space = feature_space(contributions, config.moments.encoder)
    if space is not None and all(c.generator is None for c in contributions):
        config = with_moments_prior(config, schema)
    choices = Choices(
        config.distill,
        schema,
        measure,
        mixture.weights,
        gate=any(c.generator is not None for c in contributions),
        judged=judged,
        features=space_teacher(space, contributions),
    )
    if choices.needs_meta and learns_on_samples(contributions, config):
        shared.append(draw_for_meta(sampler(), mixture, config, schema).samples)
    named = {config.distill.teacher, *config.distill.candidates}
    if MOMENTS_META in named:
        shared.append(draw_for_meta(sampler(), mixture, config, schema).samples)
    if MOMENTS_GATE in named:
        sources = len(generator_rows(contributions)) + 1
        shared.append(draw_for_gate(sampler(), config.distill.gate_samples, sources, seed).samples)
    shared.append(transfer_set(contributions, config.distill, seed, device, sampler, space).samples)
    return {client: concatenate([*([own[client]] if client in own else []), *shared]) for client in books}


def _foresee(
    sampler: Callable[[], Sampler],
    experts: Sequence[Expert],
    own: Mapping[int, Samples],
    seed: int,
    device: torch.device,
) -> Recognition:
    """The recognition by who can tell already; where nobody can, as if all samples were recognised."""
    able = [
        None if isinstance(expert, AnswerBook) and len(expert.missing(own[expert.client])) else expert
        for expert in experts
    ]
    measure = recognition.recognition(sampler(), able, seed, device)
    return Recognition(torch.ones(sampler().counts.shape), 1.0) if measure is None else measure
