"""A family of generators: all that the rest of the package asks of one. Each family's file makes its own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from mosaic_fl.config import GeneratorConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.schema import Schema
from mosaic_fl.generators.base import Generator, GeneratorSpec
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.training.monitor import Monitor


class Train(Protocol):
    """Fits a generator to a client's data."""

    def __call__(
        self,
        data: Dataset,
        expert: nn.Module | None,
        config: GeneratorConfig,
        stream: Stream,
        device: torch.device,
        monitor: Monitor,
    ) -> Generator:
        """A generator fitted to `data`, on the CPU in eval mode.

        `expert` is the client's classifier, which comes back as it was; None where its model is no network, which only
        families that have no `learns_from_expert` are asked. Raises MosaicError where the loss is no longer finite.
        """


def plain_spec(config: GeneratorConfig, schema: Schema) -> GeneratorSpec:
    """The sizes that the configuration gives."""
    return GeneratorSpec(config.family, config.latent, config.width)


def no_check(config: GeneratorConfig, samples: int, schema: Schema, expert: nn.Module | None) -> None:
    """Nothing to check."""


@dataclass(frozen=True)
class Family:
    """One family.

    `conditional`: labels steer what is drawn; `kinds`: the kinds of samples that it draws; `max_latent`: the largest
    latent that a received specification may ask for; `build` makes the network, freshly initialised; `train` fits it at
    a client; `check` raises UsageError, before any training, where it could not be trained on `samples` samples of a
    schema with a client's classifier (None: not known yet); `learns_from_expert`: it needs the gradients of that;
    `spec` says what a client with these settings, whose
    `family` is this one, would train; `fits_density`: training ends with a density, fitted to all samples at once.
    """

    conditional: bool
    kinds: frozenset[str]
    build: Callable[[GeneratorSpec, Schema], Generator]
    train: Train
    check: Callable[[GeneratorConfig, int, Schema, nn.Module | None], None] = no_check
    max_latent: int = 1024
    learns_from_expert: bool = False
    spec: Callable[[GeneratorConfig, Schema], GeneratorSpec] = plain_spec
    fits_density: bool = False
