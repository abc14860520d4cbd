"""A gate over clients' experts and the classifier of their class moments, as one expert more.

The gate on sources says whose generator drew a sample. Here it also says whether that client's own expert names the
sample, or the moments do: p(y|x) = Σ_k g_k(x) · p_k(y|x) + g_m(x) · p_m(y|x). A sample of client k with the label y
counts for the moments with the responsibility p_m(y|x) / (p_m(y|x) + p_k(y|x)), else for client k. That is one step of
expectation maximisation for mixtures of experts (Jacobs, Jordan, Nowlan & Hinton 1991; Jordan & Jacobs 1994), in which
no other client's expert has a part.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.experts.kind import Expert
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State
from mosaic_fl.server.experts import MixtureOfExperts
from mosaic_fl.server.gate import (
    Gate,
    draw_for_gate,
    generator_rows,
    learn_sources,
    load_sources,
    places_of,
)
from mosaic_fl.server.pool import Sampler
from mosaic_fl.training.monitor import Monitor

STAGE = "moments_gate"


def responsibilities(own: Tensor, moments: Tensor) -> Tensor:
    """How far samples count for the moments, 0..1 (n,), by log p_k(y|x) of the source's expert and log p_m(y|x)."""
    return (moments - own).sigmoid()


def moments_gate_state(
    contributions: Sequence[Contribution],
    mixture: MixtureOfExperts,
    closed: Expert,
    sampler: Sampler,
    samples: int,
    seed: int,
    device: torch.device,
    monitor: Monitor,
) -> State:
    """The weights of the network; it learns from the samples of `draw_for_gate`.

    For whom a sample counts is drawn once, by its responsibility.
    """
    rows = generator_rows(contributions)
    pool = draw_for_gate(sampler, samples, len(rows) + 1, seed)
    places = places_of(contributions, pool.sources)
    experts = torch.tensor(rows)[places]
    own = list[Tensor]()
    moments = list[Tensor]()
    first = 0
    for part, outputs in mixture.parts(pool.samples, device):
        at = torch.arange(len(part))
        labels = pool.labels[first : first + len(part)]
        own.append(outputs.log_softmax(2)[at, experts[first : first + len(part)], labels])
        moments.append(closed.log_probabilities(part, device).log_softmax(1)[at, labels])
        first += len(part)
    shares = responsibilities(torch.cat(own), torch.cat(moments))
    drawn = torch.rand(len(shares), generator=Stream(seed, f"{STAGE}-sources").torch())
    sources = torch.where(drawn < shares, len(rows), places)
    schema = contributions[0].schema
    return learn_sources(pool.samples, sources, len(rows) + 1, schema, seed, device, monitor, STAGE)


def load_moments_gate(state: State, contributions: Sequence[Contribution]) -> Gate:
    """The gate over the contributions' experts and the moments behind them, of a state of `moments_gate_state`."""
    rows = generator_rows(contributions)
    judge = load_sources(state, len(rows) + 1, contributions[0].schema)
    return Gate(judge, (*rows, len(contributions)), len(contributions) + 1)
