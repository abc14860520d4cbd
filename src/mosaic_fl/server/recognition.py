"""Whether the experts recognise what their own clients' generators draw: a measure of generators that takes no data.

Measured on sets that nobody tuned to (docs/notes/other-data.md): where a student learns well from samples and their
labels alone, nearly all are recognised; where the samples are blurred, four in ten.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mosaic_fl.config import Config
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.experts.kind import Expert
from mosaic_fl.experts.no_model import NoModel
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.server.pool import Pool, Sampler

SAMPLES = 4000  # of all clients and classes
CLIENT_SAMPLES = 10.0  # weight, in samples, of a client's mean in the rate of each of its classes
WEAK = 0.9  # rate up to which prior samples help as far as they can, and labels count no more than the experts' word
STRONG = 0.97  # rate from which on prior samples do not help


@dataclass(frozen=True)
class Recognition:
    """`rates` (K, C) in 0..1 by client, in the order of the contributions, and class; `mean` over all samples.

    A rate is the share of a client's samples of a class that its own expert takes for that class, beyond chance: 0 for
    an expert that guesses among its client's classes, 1 for one that is always right (as Cohen's kappa, 1960). Where a
    client drew none of a class, it is the client's mean. A client with a single class says nothing, since its expert
    knows no other: it has the mean of all, which it does not count in.
    """

    rates: Tensor
    mean: float

    @property
    def prior_need(self) -> float:
        """How far prior samples have to help, 0..1: not at all from `STRONG` on, as far as they can up to `WEAK`."""
        return min(1.0, max(0.0, (STRONG - self.mean) / (STRONG - WEAK)))

    @property
    def certainty(self) -> Tensor:
        """How certain labels are, (K, C) in 0..1: 0 up to `WEAK`, 1 where all samples are recognised."""
        return ((self.rates - WEAK) / (1 - WEAK)).clamp(0, 1)


def is_measured(contributions: Sequence[Contribution], config: Config) -> bool:
    """Whether experts' recognition of their own generators' samples says anything."""
    specs = [c.generator_spec for c in contributions if c.generator_spec is not None]
    return not config.distill.fresh and bool(specs) and all(spec.conditional for spec in specs)


def draw(sampler: Sampler, seed: int) -> Pool:
    """The samples by which experts are measured. Raises UsageError where nothing can be drawn."""
    return sampler.draw_apart(SAMPLES, Stream(seed, "recognition"))


def recognition(
    sampler: Sampler, experts: Sequence[Expert | None], seed: int, device: torch.device
) -> Recognition | None:
    """What the experts recognise of `SAMPLES` samples, whose classes are drawn evenly; None where no client can tell.

    `experts` are in the order of the sampler's contributions; one that is None, or no
    model, is not asked, and says nothing. Raises
    UsageError where nothing can be drawn.
    """
    pool = draw(sampler, seed)
    right = torch.zeros(sampler.counts.shape)
    drawn = torch.zeros(sampler.counts.shape)
    for k, (client, expert) in enumerate(zip(sampler.clients.tolist(), experts, strict=True)):
        own = pool.sources == client
        if expert is not None and not isinstance(expert, NoModel) and bool(own.any()):
            labels = pool.labels[own]
            classes = expert.log_probabilities(pool.samples[own], device).argmax(1)
            right[k].index_add_(0, labels, (classes == labels).float())
            drawn[k].index_add_(0, labels, torch.ones(len(labels)))
    return rates(right, drawn)


def rates(right: Tensor, drawn: Tensor) -> Recognition | None:
    """The rates of counts (K, C): `right` of `drawn` samples; None where every client drew a single class or nothing.

    A class's share is pulled towards its client's mean before chance is taken off.
    """
    total = drawn.sum(1, keepdim=True)
    classes = (drawn > 0).sum(1, keepdim=True)
    tells = classes > 1
    if not bool(tells.any()):
        return None
    client_mean = right.sum(1, keepdim=True) / total.clamp(min=1)
    pulled = (right + CLIENT_SAMPLES * client_mean) / (drawn + CLIENT_SAMPLES)
    chance = 1 / classes.clamp(min=2)
    by_client = ((client_mean - chance) / (1 - chance)).clamp(min=0)
    mean = float((by_client * total)[tells].sum() / total[tells].sum())
    return Recognition(torch.where(tells, ((pulled - chance) / (1 - chance)).clamp(min=0), mean), mean)
