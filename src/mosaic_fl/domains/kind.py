"""A kind of sample: what the values of one field are, at rest and in a network, and what can be done with them."""

from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from mosaic_fl.config import DistillConfig
from mosaic_fl.errors import UsageError
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.registries import KINDS


class Kind(Protocol):
    """One field's kind, a frozen value that sites compare; `n` values at rest are a tensor (n, …)."""

    name: ClassVar[str]
    """By which files and settings know the kind."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one value as a network takes it."""

    @property
    def drawn_well(self) -> bool:
        """Whether small generators draw such values well, so that their labels can be believed (docs/notes)."""

    def check(self, values: Tensor) -> None:
        """Raise UsageError unless `values` (n, …) are values of this kind at rest."""

    def zeros(self, n: int) -> Tensor:
        """`n` values at rest that say nothing."""

    def to_network(self, values: Tensor) -> Tensor:
        """Values at rest -> float32 (n, *shape) as networks take them."""

    def to_rest(self, values: Tensor) -> Tensor:
        """Float (n, *shape) of a generator -> the nearest values at rest; the inverse of `to_network` to rounding."""

    def augmentation(self, asked: str) -> str:
        """How values are varied in training where the configuration says `asked`, which may be "auto"."""

    def varied(self, values: Tensor, how: str, rng: torch.Generator) -> Tensor:
        """A varied copy of values at rest, each changed on its own; `how` comes from `augmentation`."""

    def prior_source(self, asked: str) -> str:
        """Where public values come from where the configuration says `asked`, which may be "auto"; "none": nowhere."""

    def check_prior(self, source: str) -> None:
        """Raise UsageError unless `prior` knows `source`."""

    def prior(self, source: str, n: int, stream: Stream) -> Tensor:
        """`n` public values at rest with no task data in them."""

    def mixed(self, prior: Tensor, samples: Tensor, config: DistillConfig, seed: int) -> Tensor:
        """Public values, some of them mixed with generators' `samples` as `config` says, at rest; no label holds."""

    def default_models(self) -> tuple[str, ...]:
        """Architectures for clients in turn, where the user names none."""

    def default_student(self) -> str:
        """The global model's architecture, where the user names none."""

    @property
    def summary(self) -> str:
        """What values are, in a few words, as in "1×8×8 images"."""

    def difference(self, other: "Kind") -> str:
        """In what this kind differs from another one, in words, as in "images of 1×8×8, not 3×8×8"."""

    def to_json(self) -> dict[str, Any]:
        """As JSON values, of which "kind" is the name."""

    @classmethod
    def from_json(cls, value: object) -> "Kind":
        """From JSON values that may come from anywhere; raises UsageError for anything but this kind."""


def kind_from_json(value: object) -> Kind:
    """The kind that JSON values describe; raises UsageError for one that is not known here."""
    match value:
        case {"kind": str(name)}:
            return KINDS.received(name).from_json(value)
    raise UsageError("the schema has a field without a kind")
