"""The plan of a private contribution: what it releases, and how much noise each part gets, before any data are seen."""

import math
from dataclasses import dataclass

import torch

from mosaic_fl.config import Config
from mosaic_fl.config.model_names import NO_MODEL, without_batch_norm
from mosaic_fl.domains.schema import Schema
from mosaic_fl.encoders.clipping import clip_of
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.feature_moments import moments_encoder, vector_schema
from mosaic_fl.exchange.privacy import Part, Statement
from mosaic_fl.experts.closed_form import is_closed_form
from mosaic_fl.experts.private_training import check_private_network, steps_for_rate
from mosaic_fl.generators.base import require_kind
from mosaic_fl.generators.moments import noisy_spec
from mosaic_fl.generators.private_vae import FAMILY as VAE
from mosaic_fl.generators.private_vae import latent_clip
from mosaic_fl.models.registry import build
from mosaic_fl.numerics.accountant import Release, Wish, calibrate
from mosaic_fl.numerics.gaussian_mechanism import noise_multiplier
from mosaic_fl.numerics.noisy_sums import Mechanism

MOMENTS = "moments"
NONE = "none"


@dataclass(frozen=True)
class Plan:
    """The releases of one contribution, which one accountant composes.

    `counts` are class counts by themselves; where the generator is of `moments` these have them. `expert` are the steps
    of the client's network `architecture`; None for a closed form. `network` are those of a `cvae`, and `latents` the
    moments of its latents. With `beside` the moments are of the vectors of `moments.encoder`, and no generator; `size`
    is how many numbers a vector has.
    """

    architecture: str
    generator: str
    counts: Release | None = None
    moments: Mechanism | None = None
    expert: Release | None = None
    network: Release | None = None
    latents: Mechanism | None = None
    beside: bool = False
    size: int = 0

    @property
    def parts(self) -> tuple[Part, ...]:
        """What the contribution says of its releases; nothing where its moments say it themselves."""
        if self.expert is None:
            return ()
        named = {
            "class counts": self.counts,
            "moments": None if self.moments is None else Release(self.moments.multiplier),
            "expert": self.expert,
            "generator": self.network,
            "latents": None if self.latents is None else Release(self.latents.multiplier),
        }
        return tuple(
            Part(name, release.noise, release.rate, release.steps)
            for name, release in named.items()
            if release is not None
        )

    def statement(self, config: Config) -> Statement:
        """What the contribution says of its privacy."""
        return Statement(config.privacy.epsilon, config.privacy.delta, self.parts)


def family_of(config: Config, schema: Schema) -> str:
    """The generator of a private client: as `generator.family` says; auto is the one for this kind of samples.

    Unlike without privacy it does not depend on how many samples there are, which would tell that.
    """
    family = config.generator.family
    if family == "auto":
        family = VAE if schema.kind.name == "image" else MOMENTS
    if family == MOMENTS and schema.kind.name == "table":
        raise UsageError(
            "privacy.epsilon: no generator of rows has noise: say --encoder encoding, whose vectors have moments, or "
            "--generator none"
        )
    if family != NONE:
        require_kind(family, schema)
    return family


def plan_of(schema: Schema, model: str, config: Config) -> Plan:
    """The plan of a client with such samples and the architecture `model`; of public facts alone.

    Raises UsageError where no mechanism covers them, and for a network where Opacus is not installed.
    """
    if schema.joins:
        raise UsageError("privacy.epsilon covers samples of one field: leave all fields but one out of the data")
    privacy = config.privacy
    follows = is_closed_form(model) or model == NO_MODEL
    encoder = moments_encoder(config, schema)
    family = MOMENTS if follows or encoder is not None else family_of(config, schema)
    if family == MOMENTS:
        vectors = schema if encoder is None else vector_schema(encoder, schema)
        require_kind(MOMENTS, vectors)
        noisy_spec(vectors)
        clip = clip_of(vectors.kind, privacy.clip)
        if follows:
            multiplier = noise_multiplier(privacy.epsilon, privacy.delta)
            mechanism = Mechanism(clip, privacy.shares, multiplier)
            return Plan(model, family, moments=mechanism, beside=encoder is not None, size=vectors.shape[0])
    rate = privacy.rate
    steps = steps_for_rate(rate, config.train)
    name = without_batch_norm(model)
    if family == MOMENTS:
        moments, expert = _calibrated(config, Wish(1 - privacy.expert), Wish(privacy.expert, rate, steps))
        mechanism = Mechanism(clip, privacy.shares, moments.noise)
        return Plan(name, family, None, mechanism, expert, beside=encoder is not None, size=vectors.shape[0])
    rest = 1 - privacy.counts
    if family == NONE:
        counts, expert = _calibrated(config, Wish(privacy.counts), Wish(rest, rate, steps))
        return Plan(name, family, counts, expert=expert)
    share = rest * (1 - privacy.expert)
    counts, expert, network, latents = _calibrated(
        config,
        Wish(privacy.counts),
        Wish(rest * privacy.expert, rate, steps),
        Wish(share * (1 - privacy.latents), rate, generator_steps(config)),
        Wish(share * privacy.latents),
    )
    clip = latent_clip(config.generator.latent)
    return Plan(name, family, counts, None, expert, network, Mechanism(clip, privacy.shares, latents.noise))


def check_plan(schema: Schema, model: str, config: Config) -> None:
    """Raise UsageError, before any work, where no private contribution is possible: see `plan_of`."""
    plan = plan_of(schema, model, config)
    if plan.expert is not None:
        check_private_network(plan.architecture, schema)


def generator_steps(config: Config) -> int:
    """Steps of the private generator: `generator.epochs` passes, each step of a share `rate`; or `generator.steps`."""
    if not config.generator.epochs:
        return config.generator.steps
    return max(1, round(config.generator.epochs / config.privacy.rate))


def samples_needed(plan: Plan, schema: Schema) -> dict[str, int]:
    """For each part of the plan the samples from which on its signal is as large as its noise.

    Of class counts: the noise of one is as large as the mean count. Of moments: the noise of a class's mean is as long
    as the longest vector. Of a network: the noise of all its steps together, σ·√steps·√weights, is as long as the
    gradients of all samples, all of the full length and in one direction, would be: samples · rate · steps.
    """
    classes = schema.num_classes
    needed = dict[str, int]()
    if plan.counts is not None:
        needed["class counts"] = math.ceil(classes * plan.counts.noise)
    if plan.moments is not None:
        count, total, _ = plan.moments.noise
        needed["moments"] = math.ceil(classes * max(count, total * math.sqrt(plan.size) / plan.moments.clip))
    if plan.expert is not None:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            weights = sum(p.numel() for p in build(plan.architecture, schema).parameters())
        release = plan.expert
        needed["the expert"] = math.ceil(release.noise * math.sqrt(weights / release.steps) / release.rate)
    return needed


def _calibrated(config: Config, *wishes: Wish) -> tuple[Release, ...]:
    return calibrate(wishes, config.privacy.epsilon, config.privacy.delta)[1]
