"""The clients as a method sees them: the calls that it can make, and their answers.

Engines implement `Federation`, for clients in this process or on other machines. Methods call it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.schema import Schema
from mosaic_fl.exchange.audited import Audited
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.query import Answer, Query
from mosaic_fl.generators.latent import Latent
from mosaic_fl.numerics.states import State

MILLINATS = 1000.0  # in a nat: the unit of sums of log-loss, which are whole numbers
UNITS = 2**24  # in one of a derivative: the unit of sums of gradients, which are whole numbers
MAX_SUM = 2**48  # of such sums of one client, so that those of all clients fit into 64 bits
TEMPERATURES = (
    1.0,
    *(math.exp(step / 8) for step in range(-8, 17) if step),
)  # by which logits are divided: 0.37 to 7.4
HIGHEST_LOSS = 50.0  # nats of a sample, so that one that was thought impossible does not outweigh all others


@dataclass(frozen=True)
class Start:
    """Where a client's training begins: the weights `state` of `architecture`."""

    architecture: str
    state: State


@dataclass(frozen=True)
class FitJob:
    """One client's job in `fit`: train `architecture` from the weights `state`.

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
    """A client's answer to `fit`: its new weights, its training samples, and figures where a method reads them.

    `class_counts` int64 (C,) counts the training samples of each class; it is empty where the call did not ask for it.
    """

    client: int
    state: State
    samples: int
    validation: dict[str, float]
    class_counts: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))


@dataclass(frozen=True)
class GrowJob:
    """A job of `boost`: grow one more tree a class (one alone of two classes) on a sample of rows and columns.

    `trees` is the ensemble so far (`experts.ensemble`); `settings` are changes to the `boosting` section.
    """

    trees: State
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SumJob:
    """A job of `boost`: the sums of the log-loss's derivatives over rows in each of `nodes`, by bins of their values.

    `trees` is the ensemble so far, `growing` are trees that it does not have yet; `nodes` int64 (M,) are open leaves of
    these. `bins` is about the number of bins of a number (`experts.bins`).
    """

    trees: State
    growing: State
    nodes: Tensor
    bins: int


class Federation(Protocol):
    """The clients of one run. Their numbers 0..N−1 never change. Any client may be absent at any time.

    Each call returns a list with the answers of the clients that answered, in the order of the clients or of the jobs.
    The list may be shorter than the number of clients or jobs, so a position in it does not identify a client:
    `Contribution.client` and `Fitted.client` do. A client that does not answer one call may answer the next.
    `contribute`, `fit` and `boost` never return an empty list: the engine raises MosaicError where fewer clients answer
    than its minimum. The other calls may return an empty list.
    """

    @property
    def schema(self) -> Schema:
        """The schema of all clients' samples."""

    @property
    def architectures(self) -> Sequence[str]:
        """The name of each client's architecture; its length is N, even if some clients never answer."""

    def contribute(self, start: Mapping[int, Start] | None = None) -> list[Contribution]:
        """Every client trains and sends its contribution.

        A client in `start` trains that architecture from those weights. Contributions are stored: a resumed run gets
        those of the same clients as before.
        """

    def fit(self, jobs: Sequence[FitJob], round: int) -> list[Fitted]:
        """The clients that have a job train on their own data, in round `round` (0-based); at least one answers."""

    def boost(self, job: GrowJob | SumJob, clients: Sequence[int], round: int) -> list[Fitted]:
        """Each of `clients` does its part of boosting round `round` (0-based) on its training data; one answers at
        least.

        An answer's state has the new trees, or the one tensor "sums" int64 (M, bins, 2) of first and second derivatives
        in units of 1/`UNITS`. Its `validation` has the "loss" (mean, nats) of `job.trees` on the client's validation
        rows and their number, "samples".
        """

    def statistics(self, architecture: str, state: State) -> list[Fitted]:
        """The batch-norm statistics of `state` on each client's training data: an answer's state has nothing else.

        The list may be empty.
        """

    def evaluate(
        self, architecture: str, state: State, clients: Sequence[int] | None = None, *, losses: bool = False
    ) -> list[Tensor]:
        """Confusion matrices int64 (C, C), true class by predicted class, on clients' validation data.

        With `losses` they are tables int64 (1, 1 + T) instead: the samples, and the sums of their
        log-loss in `MILLINATS` at each of `TEMPERATURES`, of which the first is 1. They are those of `clients`, or of
        all. The list may be empty. A table does not name its client, so only their sum has a meaning.
        """

    def tally(self, count: Callable[[Dataset], Mapping[str, int]]) -> Mapping[str, int]:
        """The sums of what `count` finds on each client's validation split, by name.

        Only these sums come back. Empty where clients are on a network: no function travels to them.
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
        figures on them. A client with an empty split returns `state` unchanged and 0 samples. A client that did not
        contribute may answer too. The list may be empty.
        """

    def answer(self, queries: Sequence[Query]) -> list[Answer]:
        """The answers of black boxes to queries, one each at most; answers are stored, so a resume asks who is missing.

        Who fails, answers too late, or with what are no answers, is told with the reason. The list may be empty.
        """


class Engine(Federation, Protocol):
    """A federation as a run sees it: with the clients' own figures beside the calls of a method."""

    @property
    def alone(self) -> Mapping[int, Mapping[str, float]]:
        """By client, the figures on its own validation data that came with its contribution."""

    @property
    def audits(self) -> Mapping[int, Audited]:
        """By client, what its own audit of its contribution found, where it says that."""

    def judge(self, architecture: str, state: State) -> dict[int, Tensor]:
        """As `evaluate`, by the number of each client that answered."""
