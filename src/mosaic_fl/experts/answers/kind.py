"""The kind of expert `answers`: a black box. Its contribution has no weights, and its site answers queries."""

from collections.abc import Iterable

import torch
from torch import Tensor

from mosaic_fl.config import TrainConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError, excerpt
from mosaic_fl.experts.kind import ExpertKind
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State
from mosaic_fl.training.monitor import Monitor

NAME = "answers"


class Absent:
    """The expert of a black box where nobody answers for it."""

    def log_probabilities(self, samples: Samples, device: torch.device | str = "cpu") -> Tensor:
        """Raises UsageError: there is no model here."""
        raise UsageError(
            "a client's model is a black box (answers), which does not leave its site: mosaic distill writes queries "
            "for it, and in Python distill(…, answer={client: function}) asks it"
        )


def is_black_box(architecture: str) -> bool:
    """Whether the model of that name stays at its site and answers queries."""
    return architecture == NAME


def require_here(architectures: Iterable[str], work: str) -> None:
    """Raise UsageError where one of the models is a black box: `work` has nobody whom it could ask."""
    if any(map(is_black_box, architectures)):
        raise UsageError(
            f"model {NAME!r} is a black box, which answers queries by files or as a Python function: {work} cannot ask "
            "it; send its answers with mosaic contribute, distill and answer (docs/black-box.md)"
        )


def _make(name: str, schema: Schema) -> Absent:
    return Absent()


def _fit(
    expert: Absent,
    train: Dataset,
    validation: Dataset,
    config: TrainConfig,
    stream: Stream,
    device: torch.device,
    monitor: Monitor,
) -> dict[str, float]:
    """No training and no figures: the model is not here."""
    return {"samples": 0}


def _state(expert: Absent) -> State:
    return {}


def _load(name: str, schema: Schema, state: State, source: str) -> Absent:
    _check(name, schema)
    if state:
        raise UsageError(f"{source}: a black box ({NAME}) with weights: it has none")
    return Absent()


def _check(name: str, schema: Schema) -> None:
    if name != NAME:
        raise UsageError(f"model {excerpt(name)}: a black box is called {NAME}, and no more")


ANSWERS = ExpertKind(make=_make, fit=_fit, state=_state, load=_load, check=_check)
