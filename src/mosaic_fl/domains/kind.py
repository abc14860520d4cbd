"""The interface of a kind of sample: the values of one field, at rest and in a network. Open it to add a kind."""

from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from mosaic_fl.config import DistillConfig
from mosaic_fl.errors import UsageError
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.registries import KINDS


class Kind(Protocol):
    """The kind of one field: a frozen value, which sites compare. `n` values at rest are a tensor (n, …)."""

    name: ClassVar[str]
    """The name of the kind in files and settings."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one value as a network takes it."""

    @property
    def drawn_well(self) -> bool:
        """Whether a VAE draws such values well enough that a client with an accelerator needs no flow."""

    def check(self, values: Tensor) -> None:
        """Raise UsageError unless `values` (n, …) are values of this kind at rest."""

    def zeros(self, n: int) -> Tensor:
        """`n` values at rest without information."""

    def to_network(self, values: Tensor) -> Tensor:
        """Values at rest -> float32 (n, *shape) as networks take them."""

    def to_rest(self, values: Tensor) -> Tensor:
        """Float (n, *shape) of a generator -> the nearest values at rest; the inverse of `to_network` to rounding."""

    def augmentation(self, setting: str) -> str:
        """The augmentation of values in training for a `setting` of the configuration, which may be "auto"."""

    def varied(self, values: Tensor, how: str, rng: torch.Generator) -> Tensor:
        """An augmented copy of values at rest, each with its own change; `how` is a result of `augmentation`."""

    def prior_source(self, setting: str) -> str:
        """The source of public values for a `setting` of the configuration, which may be "auto"; or "none"."""

    def check_prior(self, source: str) -> None:
        """Raise UsageError unless `prior` can draw from `source`."""

    def prior(self, source: str, n: int, stream: Stream) -> Tensor:
        """`n` public values at rest, without any task data."""

    def mixed(self, prior: Tensor, samples: Tensor, config: DistillConfig, seed: int) -> Tensor:
        """Public values at rest, some of them mixed with generators' `samples` by `config`; they have no labels."""

    def default_models(self) -> tuple[str, ...]:
        """The default architectures of clients, in turn."""

    def default_student(self) -> str:
        """The default architecture of the global model."""

    @property
    def summary(self) -> str:
        """A description of the values in a few words, as "1×8×8 images"."""

    def difference(self, other: "Kind") -> str:
        """The difference from another kind in words, as "images of 1×8×8, not 3×8×8"."""

    def to_json(self) -> dict[str, Any]:
        """As JSON values; "kind" is the name."""

    @classmethod
    def from_json(cls, value: object) -> "Kind":
        """From JSON values that may come from anywhere; raises UsageError for anything but this kind."""


def kind_from_json(value: object) -> Kind:
    """The kind that JSON values describe; raises UsageError for an unknown one."""
    match value:
        case {"kind": str(name)}:
            return KINDS.received(name).from_json(value)
    raise UsageError("the schema has a field without a kind")
