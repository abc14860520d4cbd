"""What a method asks of the clients, whoever and wherever they are. Engines implement it; methods speak to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from mosaic_fl.contribution import Contribution
from mosaic_fl.data.schema import Schema

State = dict[str, Tensor]


@dataclass(frozen=True)
class Fitted:
    """A client's answer to `fit`: its new weights, its training samples and its validation figures."""

    client: int
    state: State
    samples: int
    validation: dict[str, float]


class Federation(Protocol):
    """The clients of one run. Every answer is a list in the order of the clients."""

    @property
    def schema(self) -> Schema:
        """What all clients' samples are."""

    @property
    def architectures(self) -> Sequence[str]:
        """The name of each client's architecture; its length is the number of clients."""

    def contribute(self) -> list[Contribution]:
        """Every client trains and gives its contribution."""

    def fit(self, architecture: str, state: State, round: int) -> list[Fitted]:
        """Every client trains `architecture` from the weights `state` on its own data, in round `round` (0-based)."""

    def evaluate(self, architecture: str, state: State) -> list[Tensor]:
        """Every client's confusion matrix int64 (C, C), true class by predicted, on its own validation split."""
