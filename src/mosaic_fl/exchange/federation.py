"""What a method asks of the clients, whoever and wherever they are. Engines implement it; methods speak to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from mosaic_fl.domains.schema import Schema
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.generators.latent import Latent
from mosaic_fl.numerics.states import State


@dataclass(frozen=True)
class Start:
    """Where a client's training begins: the weights `state` of `architecture`."""

    architecture: str
    state: State


@dataclass(frozen=True)
class FitJob:
    """What one client is asked in `fit`: train `architecture` from the weights `state`.

    `settings` are changes to its training configuration, as {"lr": 1e-4, "max_steps": 10}; `latent` is a generator of
    features whose labels it also learns (FedGen).
    """

    client: int
    architecture: str
    state: State
    settings: Mapping[str, Any] = field(default_factory=dict)
    latent: Latent | None = None


@dataclass(frozen=True)
class Fitted:
    """A client's answer to `fit`: its new weights, its training samples, its validation figures.

    `class_counts` int64 (C,) says how many of the training samples each class has; empty where nobody asked.
    """

    client: int
    state: State
    samples: int
    validation: dict[str, float]
    class_counts: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))


class Federation(Protocol):
    """The clients of one run, numbered 0..N−1 for good, of whom some may be away, at any time and for any length.

    Every question is answered by a list, in the order of the clients or of the jobs, of those who ANSWERED. It may be
    shorter than what was asked, so a place in it says nothing about whose an answer is: `Contribution.client` and
    `Fitted.client` do. Who kept silent once may answer the next time, whatever the question. `contribute` and `fit`
    never return an empty list: the engine raises MosaicError where fewer answered than it takes as the least. The
    others may.
    """

    @property
    def schema(self) -> Schema:
        """What all clients' samples are."""

    @property
    def architectures(self) -> Sequence[str]:
        """The name of each client's architecture; its length is N, also where some never answer."""

    def contribute(self, start: Mapping[int, Start] | None = None) -> list[Contribution]:
        """Every client trains and gives its contribution; those in `start` train that architecture on from there.

        Contributions are kept: a run that is taken up again is given those of the same clients as before.
        """

    def fit(self, jobs: Sequence[FitJob], round: int) -> list[Fitted]:
        """The clients that have a job train on their own data, in round `round` (0-based); at least one answers."""

    def statistics(self, architecture: str, state: State) -> list[Fitted]:
        """The batch-norm statistics of `state` on each client's training data, and nothing else, as answers.

        Nobody may answer.
        """

    def evaluate(self, architecture: str, state: State, clients: Sequence[int] | None = None) -> list[Tensor]:
        """Confusion matrices int64 (C, C), true class by predicted, of `clients`, or all, on their validation data.

        Nobody may answer. They do not say whose they are, and are good for sums alone.
        """

    def fit_fusion(
        self,
        contributions: Sequence[Contribution],
        state: State,
        clients: Sequence[int],
        settings: Mapping[str, Any],
        round: int,
    ) -> list[Fitted]:
        """Each of `clients` trains an aggregator (`models.fusion`) from the weights `state`, in the 0-based `round`.

        It learns from the outputs of all experts in `contributions` on the client's validation split. `settings` are
        changes to the `meta` section, where 0 `steps` are one pass. An answer's `samples` are those of the split, its
        figures on them; a client whose split is empty abstains: `state` as it was, and 0 samples. A client that did not
        contribute may answer all the same. Nobody may.
        """


class Engine(Federation, Protocol):
    """What a run, beside its method, asks of who carries it."""

    @property
    def alone(self) -> Mapping[int, Mapping[str, float]]:
        """By client, the figures on its own validation data that came with its contribution."""

    def judge(self, architecture: str, state: State) -> dict[int, Tensor]:
        """As `evaluate`, by the number of each client that answered."""
