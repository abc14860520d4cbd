"""A kind of expert: all that the rest of the package asks of a client's model, whatever it is made with.

Every expert gives log-probabilities. What else it can do is a `Capability`, which its kind declares and methods ask for
(`methods.card`). Networks have all of them (`experts/network.py`); a random forest may have none.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from mosaic_fl.config import TrainConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.experts.capability import Capability
from mosaic_fl.models.maps import Work
from mosaic_fl.models.registry import Outline
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State
from mosaic_fl.training.monitor import Monitor


class Expert(Protocol):
    """A client's model."""

    def log_probabilities(self, samples: Samples, device: torch.device | str = "cpu") -> Tensor:
        """float32 (n, C) on the CPU: the logarithm of each class's probability, up to a constant a sample.

        So a network's logits will do, and nobody has to normalise.
        """


class Fit(Protocol):
    """Trains an expert."""

    def __call__(
        self,
        expert: Any,
        train: Dataset,
        validation: Dataset,
        config: TrainConfig,
        stream: Stream,
        device: torch.device,
        monitor: Monitor,
    ) -> dict[str, float]:
        """Fit `expert` to `train`, in place; all randomness is the `stream`'s.

        Returns figures on `validation`, as `experts.training.score` does. Raises MosaicError where it fails.
        """


def no_outline(name: str, schema: Schema) -> Outline:
    """Nothing is known of what such an expert takes."""
    return Outline(Work(0, 0, 0, 0), 0)


@dataclass(frozen=True)
class ExpertKind:
    """One kind. What an expert has learnt is a state: tensors by name, of the types that a file holds.

    `make`: (name as users write it, schema) -> an untrained expert, its randomness the ambient generator's; `fit`
    trains it; `state` is what it has learnt; `load`: (name, schema, state, source) -> an expert that knows this and
    nothing else, or UsageError that names the `source`: a state may come from anywhere, so nothing in it is unpickled,
    evaluated or imported. `check` raises UsageError, before any work, for a name that does not fit the schema;
    `outline` says what a sample costs, for limits on what is received.
    """

    make: Callable[[str, Schema], Any]
    fit: Fit
    state: Callable[[Any], State]
    load: Callable[[str, Schema, State, str], Expert]
    check: Callable[[str, Schema], None]
    capabilities: frozenset[Capability] = frozenset()
    outline: Callable[[str, Schema], Outline] = no_outline
