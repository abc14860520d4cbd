"""A client's contribution under differential privacy: one noisy release, and nothing that does not follow from it."""

import secrets
from collections.abc import Callable

import torch

from mosaic_fl.config import Config
from mosaic_fl.config.model_names import NO_MODEL
from mosaic_fl.config.privacy_checks import check_private
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.encoders.clipping import clip_of
from mosaic_fl.encoders.encoding import encode
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution, no_prototypes
from mosaic_fl.exchange.feature_moments import FAMILY, moments_encoder, of_moments, vector_schema
from mosaic_fl.exchange.privacy import Statement
from mosaic_fl.experts.closed_form import closed_form_state, network_of
from mosaic_fl.experts.no_model import without_model
from mosaic_fl.generators.base import require_kind
from mosaic_fl.generators.moments import NoisyClassMoments, noisy_spec
from mosaic_fl.numerics.gaussian_mechanism import Bytes, noise_multiplier
from mosaic_fl.numerics.noisy_sums import Mechanism, release
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.training.monitor import Monitor


def mechanism_of(data: Dataset, config: Config) -> Mechanism:
    """The mechanism for such data: of their schema alone. Raises UsageError where none covers them."""
    schema = data.schema
    if schema.joins:
        raise UsageError("privacy.epsilon covers vectors of one field: leave all fields but one out of the data")
    encoder = moments_encoder(config, schema)
    if encoder is not None:
        schema = vector_schema(encoder, schema)
    require_kind(FAMILY, schema)
    privacy = config.privacy
    noisy_spec(schema.shape[0], schema.num_classes)
    multiplier = noise_multiplier(privacy.epsilon, privacy.delta)
    return Mechanism(clip_of(schema.kind, privacy.clip), privacy.shares, multiplier)


def released(data: Dataset, config: Config, device: torch.device | str = "cpu") -> Dataset:
    """The vectors of which a private contribution tells: the data, or beside pictures those of `moments.encoder`."""
    encoder = moments_encoder(config, data.schema)
    return data if encoder is None else encode(data, encoder, device)


def contribute_privately(
    client: int,
    data: Dataset,
    model: str,
    config: Config,
    monitor: Callable[[str], Monitor],
    source: Bytes = secrets.token_bytes,
) -> Contribution:
    """The contribution of `client` with its samples `data`: noisy sums, and what follows from these alone.

    Its expert is the closed form `model` of the noisy sums, or none. Of pictures beside a public encoder the sums are
    those of their vectors, and these moments are all that it tells. Its class counts are rounded noisy ones, 0 at
    least. There is no validation split, so nothing is measured. Noise is from the system's secure source, so no two
    contributions are alike; `source` is another one in tests alone. Raises UsageError, before any work, for what would
    leave without noise.
    """
    check_private(config, [model])
    mechanism = mechanism_of(data, config)
    vectors = released(data, config)
    schema = vectors.schema
    generator = NoisyClassMoments(noisy_spec(schema.shape[0], schema.num_classes), schema)
    by_class = generator.is_by_class
    noisy = release(vectors.samples.only, vectors.labels, schema.num_classes, mechanism, source, by_class=by_class)
    generator.tell_noisy(noisy, mechanism.clip)
    generator.eval()
    monitor("train").progress(1, 1)
    monitor("generator").progress(1, 1)
    counts = generator.counts.clamp(min=0)
    if not int(counts.sum()):
        counts[int(generator.counts.argmax())] = 1
    statement = Statement(config.privacy.epsilon, config.privacy.delta)
    beside = vectors is not data
    with torch.random.fork_rng(devices=[]):
        expert = without_model(counts) if model == NO_MODEL else closed_form_state(model, schema, generator.moments)
    return Contribution(
        client=client,
        schema=data.schema,
        architecture=NO_MODEL if model == NO_MODEL else network_of(model),
        expert=expert,
        class_counts=counts,
        prototypes=no_prototypes(),
        validation={"samples": 0},
        generator_spec=None if beside else generator.spec,
        generator=None if beside else copy_state(generator),
        generator_note=f"noise for {statement.summary}",
        privacy=statement,
        moments=of_moments(generator, schema) if beside else None,
    )
