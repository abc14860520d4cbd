"""Samples that a contribution's generator draws, classes as often as the client has them."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mosaic_fl.domains.samples import Samples, from_network
from mosaic_fl.domains.schema import Schema
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.trial import generator_work
from mosaic_fl.generators.base import Generator
from mosaic_fl.numerics.devices import images_at_once
from mosaic_fl.numerics.randomness import Stream

LEAST_DRAWS = 300
TINY = 1e-7  # seconds of a sample, at least


@dataclass(frozen=True, eq=False)
class Plan:
    """What is to be drawn: `labels` (n,), sorted, and `latents` (n, latent)."""

    labels: Tensor
    latents: Tensor

    def parts(self, generator: Generator, schema: Schema) -> Iterator[Samples]:
        """The samples, at rest, some at once."""
        few = images_at_once("cpu")
        with torch.no_grad():
            for z, y in zip(self.latents.split(few), self.labels.split(few), strict=True):
                yield from_network(schema.fields, generator.outputs(z, y))


def plan(contribution: Contribution, seconds: float, most: int, stream: Stream) -> Plan:
    """So many samples as take `seconds` of one core by the estimated work, `LEAST_DRAWS` at least and `most` at most.

    The contribution has a generator.
    """
    spec = contribution.generator_spec
    assert spec is not None
    each = generator_work(spec, contribution.schema).seconds
    count = min(most, max(LEAST_DRAWS, int(seconds / max(each, TINY))))
    rng = stream.torch()
    labels = torch.multinomial(contribution.class_counts.double(), count, replacement=True, generator=rng)
    labels = labels.sort().values
    return Plan(labels, torch.randn(count, spec.latent, generator=rng))
