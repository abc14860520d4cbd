"""The synthetic samples on which the meta model learns."""

from collections.abc import Sequence

from mosaic_fl.config import Config
from mosaic_fl.domains.schema import Schema
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.server.experts import MixtureOfExperts
from mosaic_fl.server.meta_training import few_enough
from mosaic_fl.server.pool import Pool, Sampler


def draw_for_meta(sampler: Sampler, mixture: MixtureOfExperts, config: Config, schema: Schema) -> Pool:
    """The samples on which a meta model learns: rows as the data lie, others with classes evenly."""
    draw = sampler.draw_by_counts if schema.of_rows else sampler.draw
    return draw(few_enough(config.meta.samples, mixture.weights), Stream(config.run.seed, "meta-samples"))


def learns_on_samples(contributions: Sequence[Contribution], config: Config) -> bool:
    """Whether there are a meta model and synthetic samples for it."""
    return (
        config.meta.kind != "none"
        and config.meta.source == "synthetic"
        and any(c.generator is not None for c in contributions)
    )
