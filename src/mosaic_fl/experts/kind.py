"""A kind of expert: all that the rest of the package needs of a client's model. Open it to add a kind.

Every expert gives log-probabilities. Anything more is a `Capability`, which its kind declares and methods require
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

        So the logits of a network are allowed: no normalisation is needed.
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
        """Fit `expert` to `train`, in place; all randomness comes from `stream`.

        Returns figures on `validation`, as `experts.training.score` does. Raises MosaicError where it fails.
        """


def no_outline(name: str, schema: Schema) -> Outline:
    """The outline of an expert of unknown cost."""
    return Outline(Work(0, 0, 0, 0), 0)


def same_name(name: str) -> str:
    """The name itself: an expert of this kind travels under the name that its user wrote."""
    return name


@dataclass(frozen=True)
class ExpertKind:
    """One kind of expert. The state of an expert is tensors by name, of the types that a file can hold.

    `make`: (name as users write it, schema) -> an untrained expert, with randomness from the ambient generator. `fit`
    trains an expert. `state` gives its state. `load`: (name, schema, state, source) -> an expert with this state, or
    UsageError that names the `source`. A state may come from anywhere, so `load` unpickles, evaluates and imports
    nothing of it. `check` raises UsageError, before any work, for a name that does not fit the schema. `outline` is the
    cost of a sample, for limits on received experts. `sent` gives the name under which a state travels: where that is
    of another kind, this one only fits experts, and the other loads them.
    """

    make: Callable[[str, Schema], Any]
    fit: Fit
    state: Callable[[Any], State]
    load: Callable[[str, Schema, State, str], Expert]
    check: Callable[[str, Schema], None]
    capabilities: frozenset[Capability] = frozenset()
    outline: Callable[[str, Schema], Outline] = no_outline
    sent: Callable[[str], str] = same_name
