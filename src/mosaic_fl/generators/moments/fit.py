"""A client's class moments of its vectors: their form, their fit, and what is built of a received form."""

import torch
from torch import nn

from mosaic_fl.config import GeneratorConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.schema import Schema
from mosaic_fl.generators.base import GeneratorSpec
from mosaic_fl.generators.moments.generator import (
    DIAGONAL,
    FULL,
    LARGEST_FULL,
    MIXED,
    MIXED_DIAGONAL,
    ClassMoments,
    size_of,
)
from mosaic_fl.generators.moments.mixed import MixedMoments
from mosaic_fl.generators.moments.noisy import NoisyClassMoments
from mosaic_fl.numerics.components import centres_of
from mosaic_fl.numerics.moments import LEAST, moments_of
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.training.monitor import Monitor

FORMS = (ClassMoments, MixedMoments, NoisyClassMoments)


def build(spec: GeneratorSpec, schema: Schema) -> ClassMoments:
    """The generator of exact moments, of those with components, or of noisy ones, by the form that `spec` names."""
    form = next((form for form in FORMS if spec.width in form.widths), ClassMoments)
    return form(spec, schema)


def train(
    data: Dataset,
    expert: nn.Module | None,
    config: GeneratorConfig,
    stream: Stream,
    device: torch.device,
    monitor: Monitor,
) -> ClassMoments:
    """The moments of `data`. Nothing is random but where the clusters of k-means start, one class after the other."""
    generator = build(spec(config, data.schema), data.schema)
    vectors = data.samples.only
    moments = moments_of(vectors, data.labels, data.schema.num_classes, least=LEAST, diagonal=generator.is_diagonal)
    if isinstance(generator, MixedMoments):
        generator.tell_mixed(moments, centres_of(vectors, data.labels, moments, config.components, stream))
    else:
        generator.tell(moments)
    monitor.progress(1, 1)
    return generator.eval()


def spec(config: GeneratorConfig, schema: Schema) -> GeneratorSpec:
    """As many latents as numbers; the form by their number, and by whether classes may have components."""
    size = size_of(schema)
    full = size <= LARGEST_FULL
    if config.components > 1:
        return GeneratorSpec("moments", size, MIXED if full else MIXED_DIAGONAL)
    return GeneratorSpec("moments", size, FULL if full else DIAGONAL)


def check(config: GeneratorConfig, samples: int, schema: Schema, expert: nn.Module | None) -> None:
    """Raise UsageError for too many classes of too many numbers."""
    with torch.device("meta"):
        build(spec(config, schema), schema)
