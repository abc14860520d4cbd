"""A client's contribution under differential privacy: one noisy release, and nothing that does not follow from it."""

import secrets
from collections.abc import Callable
from dataclasses import replace

import torch

from mosaic_fl.config import Config
from mosaic_fl.config.privacy_checks import check_private
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.encoders.clipping import clip_of
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution, no_prototypes
from mosaic_fl.exchange.privacy import Statement
from mosaic_fl.experts.closed_form import NETWORK_NAME, closed_form_state
from mosaic_fl.generators.base import require_kind
from mosaic_fl.generators.moments import NoisyClassMoments, noisy_spec
from mosaic_fl.numerics.gaussian_mechanism import Bytes, noise_multiplier
from mosaic_fl.numerics.noisy_sums import Mechanism, release
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.training.monitor import Monitor

FAMILY = "moments"


def mechanism_of(data: Dataset, config: Config) -> Mechanism:
    """The mechanism for such data: of their schema alone. Raises UsageError where none covers them."""
    schema = data.schema
    if schema.joins:
        raise UsageError("privacy.epsilon covers vectors of one field: leave all fields but one out of the data")
    require_kind(FAMILY, schema)
    privacy = config.privacy
    noisy_spec(schema.shape[0])
    multiplier = noise_multiplier(privacy.epsilon, privacy.delta)
    return Mechanism(clip_of(schema.kind, privacy.clip), privacy.shares, multiplier)


def contribute_privately(
    client: int,
    data: Dataset,
    model: str,
    config: Config,
    monitor: Callable[[str], Monitor],
    source: Bytes = secrets.token_bytes,
) -> Contribution:
    """The contribution of `client` with its samples `data`: noisy sums, and what follows from these alone.

    Its expert is the closed form `model` of the noisy sums. Its class counts are rounded noisy ones, 0 at least. There
    is no validation split, so nothing is measured. Noise is from the system's secure source, so no two contributions
    are alike; `source` is another one in tests alone. Raises UsageError, before any work, for what would leave without
    noise.
    """
    check_private(config, [model])
    mechanism = mechanism_of(data, config)
    schema = data.schema
    noisy = release(data.samples.only, data.labels, schema.num_classes, mechanism, source)
    generator = NoisyClassMoments(noisy_spec(schema.shape[0]), schema)
    generator.tell_noisy(noisy, mechanism.clip)
    generator.eval()
    monitor("train").progress(1, 1)
    monitor("generator").progress(1, 1)
    counts = generator.counts.clamp(min=0)
    if not int(counts.sum()):
        counts[int(generator.counts.argmax())] = 1
    statement = Statement(config.privacy.epsilon, config.privacy.delta)
    sent = Contribution(
        client=client,
        schema=schema,
        architecture=NETWORK_NAME,
        expert={},
        class_counts=counts,
        prototypes=no_prototypes(),
        validation={"samples": 0},
        generator_spec=generator.spec,
        generator=copy_state(generator),
        generator_note=f"noise for {statement.summary}",
        privacy=statement,
    )
    return with_expert(sent, model, generator)


def with_expert(sent: Contribution, model: str, generator: NoisyClassMoments | None = None) -> Contribution:
    """The private contribution with the closed form `model` of its own noisy sums, which costs no further ε.

    `generator` is its generator, if it is there already. So a site that changes its model makes no second release.
    """
    if generator is None:
        built = sent.build_generator()
        if not isinstance(built, NoisyClassMoments):
            raise UsageError("a private contribution has no noisy class moments: no model follows from it")
        generator = built
    with torch.random.fork_rng(devices=[]):
        return replace(sent, expert=closed_form_state(model, sent.schema, generator.moments))
