"""The transfer set: what the student is distilled on, samples and prior samples (docs/method.md, lessons 4, 6, 7)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mosaic_fl.config import DistillConfig
from mosaic_fl.domains.samples import Samples, concatenate
from mosaic_fl.domains.schema import Schema
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.server.feature_space import INVERTED, FeatureSpace
from mosaic_fl.server.joining import sampler_of
from mosaic_fl.server.panel import panel_size
from mosaic_fl.server.pool import Pool, Sampler
from mosaic_fl.training.monitor import Monitor

UNLABELLED = -1
FALLBACK = "photos"  # prior images where the configuration leaves them open and generators are weak
# samples
STRONG_POOL = 40_000
WEAK_POOL = 16_000
DECODED = 24_000  # of class moments, by an encoder that can decode
# bytes of samples and of the experts' outputs on them, which cost time, beyond which a strong pool does not grow
LARGEST_POOL = 2**30
LARGEST_DECODED = 2**28  # pixels of decoded pictures, which are varied all at once in float32


@dataclass(frozen=True)
class TransferSet:
    """n `samples` at rest, `labels` (n,) of the generators or `UNLABELLED`, `sources`, clients or −1.

    Sources are (n,), or (n, F) where samples have several fields. A prior sample has no label, nor has one of the
    `decoded`, which a public encoder decoded from clients' class moments.
    """

    samples: Samples
    labels: Tensor
    sources: Tensor
    decoded: int = 0

    def counts(self) -> dict[str, int]:
        """How many samples came from where."""
        prior = int((self.labels == UNLABELLED).sum())
        counts = {"generators": len(self.labels) - prior, "prior": prior - self.decoded}
        return counts | ({"decoded": self.decoded} if self.decoded else {})


def prior_source(config: DistillConfig, schema: Schema) -> str:
    """The source of prior samples, or "none"; there are none of samples with several fields."""
    return "none" if schema.joins else schema.kind.prior_source(config.prior)


def has_prior(config: DistillConfig, schema: Schema) -> bool:
    """Whether there are prior samples, which can be distilled on where no client has a generator."""
    return config.prior_pool > 0 and prior_source(config, schema) != "none"


def strong_generators(contributions: Sequence[Contribution], config: DistillConfig) -> bool:
    """Whether the generators' samples serve alone, and with labels of their own.

    Not where prior samples have to help them, nor where a generator cannot be asked for a class: its label is then one
    expert's word.
    """
    if has_prior(config, contributions[0].schema):
        return False
    return all(c.generator_spec is None or c.generator_spec.conditional for c in contributions)


def pool_size(contributions: Sequence[Contribution], config: DistillConfig) -> int:
    """How many samples the generators of these contributions give: see `pool_samples`."""
    schema = contributions[0].schema
    few = config.pool or config.fresh
    return pool_samples(config, schema, len(contributions), strong=not few and strong_generators(contributions, config))


def pool_samples(config: DistillConfig, schema: Schema, clients: int, *, strong: bool) -> int:
    """`config.pool`; 0 is 40,000 of `strong` generators, whose new samples teach more than another look at old ones.

    Of large images, or many experts' float32 outputs on them, it is as many as make a gibibyte. It is 16,000 at least,
    and where generators are weak or new samples come with each step anyway (docs/notes/labels-and-teacher.md).
    """
    if config.pool or config.fresh or not strong:
        return config.pool or WEAK_POOL
    experts = clients if schema.joins else panel_size(clients, schema.num_classes)
    each = schema.size + 4 * experts * schema.num_classes
    return max(WEAK_POOL, min(STRONG_POOL, LARGEST_POOL // each))


def decoded_samples(config: DistillConfig, schema: Schema) -> int:
    """How many pictures are decoded of class moments: `config.pool`, or `DECODED`, fewer of large pictures."""
    return config.pool or max(1, min(DECODED, LARGEST_DECODED // schema.size))


def transfer_set(
    contributions: Sequence[Contribution],
    config: DistillConfig,
    seed: int,
    device: torch.device,
    sampler: Callable[[], Sampler] | None = None,
    space: FeatureSpace | None = None,
    monitor: Monitor | None = None,
) -> TransferSet:
    """`pool_size` generator samples and `config.prior_pool` prior images, the latter mixed with the former.

    A share `config.hybrid` of the prior images are hybrids, a share `config.cutmix` of the others hold a patch of a
    sample; with `config.plain` the samples are there unmixed as well. A mixed image has no label. Where no client has a
    generator the prior images stand alone; where there are none either, that is a UsageError. `sampler` gives the
    contributions' sampler, where there is one. Where the encoder of `space` can decode, `decoded_samples` pictures join
    them, and prior images are mixed with these as with samples.
    """
    schema = contributions[0].schema
    source = prior_source(config, schema)
    count = config.prior_pool if source != "none" else 0
    parts = list[TransferSet]()
    decodes = space is not None and space.encoder.decode is not None
    if any(c.generator is not None for c in contributions) or not (count or decodes):
        generators = sampler() if sampler else sampler_of(contributions, device)
        pool = drawing(generators, config, schema)(pool_size(contributions, config), Stream(seed, "pool"))
        parts.append(TransferSet(pool.samples, pool.labels, pool.sources))
    if space is not None and decodes:
        wanted = decoded_samples(config, schema)

        def tell(ready: int) -> None:
            if monitor is not None:
                monitor.progress(ready, min(wanted, INVERTED))

        stream = Stream(seed, "decoded")
        decoded = space.decoded(wanted, schema.fields, stream, config.inversion, device, tell)
        parts.append(_unlabelled(decoded, len(decoded)))
    if count:
        prior = _prior(schema, source, count, seed)
        if parts:
            values = torch.cat([part.samples.only for part in parts])
            mixed = schema.kind.mixed(prior.only, values, config, seed)
            prior = Samples(schema.fields, {next(iter(schema.fields)): mixed})
        parts = [*(parts if config.plain else []), _unlabelled(prior)]
    return _together(parts)


def _unlabelled(samples: Samples, decoded: int = 0) -> TransferSet:
    nowhere = torch.full((len(samples),), UNLABELLED)
    return TransferSet(samples, nowhere, nowhere, decoded)


def _together(parts: Sequence[TransferSet]) -> TransferSet:
    if len(parts) == 1:
        return parts[0]
    return TransferSet(
        concatenate([part.samples for part in parts]),
        torch.cat([part.labels for part in parts]),
        torch.cat([part.sources for part in parts]),
        sum(part.decoded for part in parts),
    )


def drawing(sampler: Sampler, config: DistillConfig, schema: Schema) -> Callable[[int, Stream], Pool]:
    """How `sampler` draws n samples: as `config.balanced` says; where that is auto the kind of samples decides.

    Rows are drawn as the clients' data lie: a model of rows should know how frequent a class is.
    """
    rows = config.balanced == "auto" and schema.of_rows
    if rows or config.balanced == "counts":
        return sampler.draw_by_counts
    return sampler.draw if config.balanced else sampler.draw_as_they_come


def _prior(schema: Schema, source: str, count: int, seed: int) -> Samples:
    """`count` public samples, which have one field."""
    values = schema.kind.prior(source, count, Stream(seed, "prior"))
    return Samples(schema.fields, {next(iter(schema.fields)): values})
