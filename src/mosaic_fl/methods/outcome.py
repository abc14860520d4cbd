"""What a method is as a function, and what it returns."""

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
    """What serves where no one model does: all experts, and how their logits (n, K, C) become one prediction (n, C)."""

    mixture: MixtureOfExperts
    fuse: Callable[[Tensor], Tensor]

    def logits(self, samples: Samples, device: torch.device | str = "cpu") -> Tensor:
        """Scores (n, C) of samples."""
        return self.fuse(self.mixture.outputs(samples, device))


@dataclass(frozen=True)
class Outcome:
    """What serves, bytes sent up by and down to each client by number, and how it was distilled, if Mosaic did.

    `model` is the one global model, or None for a method that serves all clients' models as an `ensemble`.
    """

    model: GlobalModel | None
    bytes_up: list[int]
    bytes_down: list[int]
    distilled: Distilled | None = None
    ensemble: Ensemble | None = None

    @property
    def served(self) -> GlobalModel | Ensemble:
        """What predicts: `.logits(samples, device)`."""
        served = self.model or self.ensemble
        assert served is not None
        return served

    @property
    def models_served(self) -> int:
        """How many networks each prediction takes."""
        return len(self.ensemble.mixture.experts) if self.ensemble else 1


Method = Callable[[Federation, Config, torch.device, Journal], Outcome]
