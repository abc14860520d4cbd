"""FedPFT (Beitollahi, Bie, Hemati et al. 2024, "Parametric feature transfer: one-shot federated learning with
foundation models", arXiv 2402.01862).

1. Client k fits a Gaussian mixture to the vectors of each class that a public encoder gives, and sends it (the
   generator `mixtures`: `generator.width` Gaussians, spherical, diagonal or full by `generator.covariance`).
2. The server draws from each mixture as many vectors as that client has of that class, and trains a linear head on all
   of them by cross-entropy with their labels.

The head trains as `config.distill` says, with labels alone. The authors send numbers of 16 bits, and these have 32, so
the bytes are twice theirs. `distill.pool` draws another number in all, in the same shares.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.config import Config
from mosaic_fl.domains.samples import concatenate, from_tensors, to_tensors
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.federation import Federation
from mosaic_fl.experts.closed_form import NETWORK_NAME
from mosaic_fl.generators.mixtures import Mixtures
from mosaic_fl.methods.linear_head import linear_outcome
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.notes import note
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.server.agreement import compatible
from mosaic_fl.server.lessons import FIELD, label_settings, learn_labels
from mosaic_fl.server.transfer import LARGEST_POOL
from mosaic_fl.storage.journal import Journal
from mosaic_fl.training.monitor import Monitor

BYTES = 4  # of a number


def fedpft(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """One exchange of mixtures, and a linear head that learns from draws. Raises UsageError where nobody sent one."""
    schema = federation.schema
    seed = config.run.seed
    contributions = compatible(federation.contribute())
    settings = label_settings(config.distill)

    def gather(monitor: Monitor) -> tuple[dict[str, Tensor], dict[str, Any]]:
        most = LARGEST_POOL // (BYTES * prod(schema.shape))
        return draw(contributions, settings.pool, most, seed), {}

    def learn(monitor: Monitor) -> tuple[dict[str, Tensor], dict[str, Any]]:
        samples = from_tensors(schema.fields, pool, FIELD)
        return learn_labels(NETWORK_NAME, schema, samples, pool["labels"], settings, seed, device, monitor)

    pool = journal.stage("pool", gather).tensors
    return linear_outcome(federation, contributions, journal.stage("student", learn).tensors)


def draw(contributions: Sequence[Contribution], total: int, most: int, seed: int) -> dict[str, Tensor]:
    """The vectors, under `FIELD`, and "labels" (n,) of draws from each client's mixtures, as many as it has vectors.

    Where `total` is not 0, or there would be more than `most`, they are as many in all, in the same shares, and at
    least one of each class of each client.
    """
    members = [(c, generator) for c in contributions if isinstance(generator := c.build_generator(), Mixtures)]
    if not members:
        raise UsageError("no client sent mixtures of vectors: let them contribute with --generator mixtures")
    counts = torch.stack([generator.counts for _, generator in members])
    vectors = int(counts.sum())
    limit = min(total or vectors, most)
    if vectors > most and not total:
        note(f"clients have {vectors:,} vectors, and {most:,} are drawn: more would not fit (distill.pool draws fewer)")
    shares = (counts.double() * limit / vectors).ceil().long() if limit != vectors else counts
    kinds = contributions[0].schema.fields
    classes = torch.arange(counts.shape[1])
    labels = [classes.repeat_interleave(own) for own in shares]
    parts = [
        generator.samples(kinds, own, Stream(seed, "pool", contribution.client).torch())
        for (contribution, generator), own in zip(members, labels, strict=True)
    ]
    return {**to_tensors(concatenate(parts), FIELD), "labels": torch.cat(labels)}
