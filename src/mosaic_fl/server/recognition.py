"""Whether the experts recognise what their own clients' generators draw: a measure of generators that takes no data.

Measured on sets that nobody tuned to (docs/notes/other-data.md): where a student learns well from samples alone, nine
in ten are recognised; where the samples are blurred, four in ten.
"""

from collections.abc import Sequence

import torch

from mosaic_fl.experts.kind import Expert
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.server.pool import Sampler

SAMPLES = 1000
RECOGNISED = 0.6  # share of the samples from which on generators serve alone


def recognition(sampler: Sampler, experts: Sequence[Expert], seed: int, device: torch.device) -> float:
    """The share in 0..1 of samples that their own client's expert takes for the class that was asked for.

    `experts` are in the order of the sampler's contributions. Classes are drawn evenly. Raises UsageError where nothing
    can be drawn.
    """
    pool = sampler.draw(SAMPLES, Stream(seed, "recognition"))
    right = 0
    for client, expert in zip(sampler.clients.tolist(), experts, strict=True):
        own = pool.sources == client
        if bool(own.any()):
            classes = expert.log_probabilities(pool.samples[own], device).argmax(1)
            right += int((classes == pool.labels[own]).sum())
    return right / len(pool.labels)
