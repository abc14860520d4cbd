"""What a method is, what it needs, and what it returns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.config import Config
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.federation import Federation
from mosaic_fl.global_model import GlobalModel
from mosaic_fl.journal import Journal
from mosaic_fl.server.distill import Distilled
from mosaic_fl.server.experts import MixtureOfExperts


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


ONE_MODEL, ALL_MODELS = "one model", "all clients' models"
"""What a method may serve."""
SAMPLES, SAMPLES_OR_PRIOR = "samples", "samples or prior images"
"""What a method's server may distil on: samples of the clients' generators, or prior images where there are none."""

Method = Callable[[Federation, Config, torch.device, Journal], Outcome]
Check = Callable[[Config, Schema, Sequence[str], str], None]
"""Raises UsageError, before any work, for (configuration, schema, the clients' architectures, the student's)."""


def no_check(config: Config, schema: Schema, models: Sequence[str], student: str) -> None:
    """Nothing to check beyond what is checked for every method."""


@dataclass(frozen=True)
class Card:
    """A method and what a user must know of it.

    `title` as in its paper, `paper` its citation, `summary` one line; `equal_architectures`: all clients must train one
    architecture; `rounds`: it has rounds (`rounds.warm_up` of them, at least one), else it is one-shot; `real_data`:
    it needs real held-back data at the clients beyond training, so it is not data-free; `reference`: a line to measure
    methods against, not a method to use; `serves`: `ONE_MODEL`, or `ALL_MODELS` as an ensemble; `transfer`: `SAMPLES`,
    or `SAMPLES_OR_PRIOR`, where its server distils on what clients' generators draw; `defaults` are the paper's
    settings where they differ from `Config`'s; `check` finds wrong settings.
    """

    run: Method
    title: str
    paper: str
    summary: str
    equal_architectures: bool = False
    rounds: bool = False
    real_data: bool = False
    reference: bool = False
    serves: str = ONE_MODEL
    transfer: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    check: Check = no_check
