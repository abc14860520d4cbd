"""Mosaic, one-shot (arXiv 2505.19699), with lessons 1 to 4 of our feasibility study.

1. Every client trains its own classifier and a generator of synthetic samples; only those leave it.
2. The server gates the experts by what each knows and learns to fuse their outputs.
3. It distils the fused teacher into one model on synthetic samples alone.
"""

import torch

from mosaic_fl.config import Config
from mosaic_fl.federation import Federation
from mosaic_fl.journal import Journal
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.server.distill import distill


def mosaic(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """One contribution a client, one global model; no weight is ever averaged."""
    contributions = federation.contribute()
    distilled = distill(contributions, config, device, journal)
    return Outcome(
        model=distilled.model,
        bytes_up=[len(c.to_bytes()) for c in contributions],
        bytes_down=[len(distilled.model.to_bytes())] * len(contributions),
        distilled=distilled,
    )
