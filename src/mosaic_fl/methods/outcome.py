"""The type of a method's function, and its result: the `Outcome`."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mosaic_fl.config import Config
from mosaic_fl.domains.samples import Samples
from mosaic_fl.exchange.federation import Federation
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.server.distill import Distilled
from mosaic_fl.server.experts import MixtureOfExperts
from mosaic_fl.storage.journal import Journal


@dataclass(frozen=True)
class Ensemble:
    """All experts as one classifier: `fuse` turns their logits (n, K, C) into scores (n, C)."""

    mixture: MixtureOfExperts
    fuse: Callable[[Tensor], Tensor]

    def logits(self, samples: Samples, device: torch.device | str = "cpu") -> Tensor:
        """Scores (n, C) of samples."""
        return self.mixture.fused(samples, {"scores": self.fuse}, device)["scores"]


@dataclass(frozen=True)
class Outcome:
    """The result of a method: what serves, and the bytes that travelled.

    `model` is the one global model, or None for a method that serves all clients' models as an `ensemble`. `bytes_up`
    and `bytes_down` are bytes from and to each client, by client number. `distilled` is set by Mosaic alone.
    """

    model: GlobalModel | None
    bytes_up: list[int]
    bytes_down: list[int]
    distilled: Distilled | None = None
    ensemble: Ensemble | None = None

    @property
    def served(self) -> GlobalModel | Ensemble:
        """The model or the ensemble: it predicts by `.logits(samples, device)`."""
        served = self.model or self.ensemble
        assert served is not None
        return served

    @property
    def models_served(self) -> int:
        """Number of networks that each prediction needs."""
        return len(self.ensemble.mixture.experts) if self.ensemble else 1


Method = Callable[[Federation, Config, torch.device, Journal], Outcome]
"""(federation, configuration, device, journal) -> outcome."""
