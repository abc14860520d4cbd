"""A family of generators: all that the rest of the package needs to know of one. Open it to add a family."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from mosaic_fl.config import GeneratorConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.schema import Schema
from mosaic_fl.generators.base import Generator, GeneratorSpec
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State
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

        `expert` is the client's classifier, which must not change. It is None where the client's model is no network:
        then only families without `learns_from_expert` are trained. Raises MosaicError where the loss is no longer
        finite.
        """


class TrainWatched(Protocol):
    """Fits a generator to a client's data and may stop early."""

    def __call__(
        self,
        data: Dataset,
        expert: nn.Module | None,
        config: GeneratorConfig,
        stream: Stream,
        device: torch.device,
        monitor: Monitor,
        validation: Dataset | None = None,
    ) -> Generator:
        """As `Train`; the loss on `validation`, from which nothing is learnt, may end the training early."""


def plain_spec(config: GeneratorConfig, schema: Schema) -> GeneratorSpec:
    """The specification with the sizes of the configuration."""
    return GeneratorSpec(config.family, config.latent, config.width)


def no_check(config: GeneratorConfig, samples: int, schema: Schema, expert: nn.Module | None) -> None:
    """Nothing to check."""


def no_upgrade(state: State) -> State:
    """The state of a generator as it is."""
    return state


def no_join(generators: Sequence[Generator]) -> None:
    """Each draws what its own client knows."""


@dataclass(frozen=True)
class Family:
    """One family.

    `conditional`: it draws samples of given classes. `kinds`: the kinds of samples that it draws; None: its members
    say it. `build` makes the network, freshly initialised. `train` fits it at a client. `check(settings, samples,
    schema, expert)` raises UsageError, before any training, where it cannot be trained on that number of samples
    with the client's classifier `expert` (None: not known yet). `max_latent`: the largest latent in a received
    specification. `learns_from_expert`: training needs the gradients of the classifier. `spec` is the specification
    that a client with these settings trains. `fits_density`: training ends with a density that is fitted to all
    samples at once. `has_steps`: it takes steps; else it is one fit, and the settings of steps have no effect.
    `train_watched`: as `train`, for a family that can stop early (`generator.patience`).
    `rival_from`: from how many training samples on `generator.family = measured` fits it beside the first family of the
    kind and compares them; None: never. `upgrade` gives a received state that an earlier version wrote the form of
    today; it takes no more memory than the state, and leaves what it does not know for the check of names and shapes.
    `join` tells the generators of all clients of each other at the server, before any of them draws.
    """

    conditional: bool
    kinds: frozenset[str] | None
    build: Callable[[GeneratorSpec, Schema], Generator]
    train: Train
    check: Callable[[GeneratorConfig, int, Schema, nn.Module | None], None] = no_check
    max_latent: int = 1024
    learns_from_expert: bool = False
    spec: Callable[[GeneratorConfig, Schema], GeneratorSpec] = plain_spec
    fits_density: bool = False
    has_steps: bool = True
    train_watched: TrainWatched | None = None
    rival_from: int | None = None
    upgrade: Callable[[State], State] = no_upgrade
    join: Callable[[Sequence[Generator]], None] = no_join
