"""The kind of expert `answers`: a black box. Its contribution has no weights, and its site answers queries."""

from collections.abc import Iterable

import torch
from torch import Tensor

from mosaic_fl.config import TrainConfig
from mosaic_fl.config.model_names import ANSWERS, HELD
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError, excerpt
from mosaic_fl.experts.kind import ExpertKind
from mosaic_fl.experts.naming import check
from mosaic_fl.models.own import own_model
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State
from mosaic_fl.training.monitor import Monitor

NAME = ANSWERS


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
    return architecture.split(":")[0] == NAME


def require_held(architectures: Iterable[str]) -> None:
    """Raise UsageError for a black box that does not say by what model it answers, where it has to answer by itself."""
    if NAME in architectures:
        raise UsageError(
            f"model {NAME!r} does not say which model answers: write {HELD}MODEL, as {HELD}random_forest, "
            f"{HELD}FILE.onnx or {HELD}MODULE:FUNCTION (docs/black-box.md)"
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
    if name != NAME:
        raise UsageError(f"{source}: model {excerpt(name)}: what is received of a black box is called {NAME} alone")
    if state:
        raise UsageError(f"{source}: a black box ({NAME}) with weights: it has none")
    return Absent()


def _sent(name: str) -> str:
    """Nothing of the site's own model leaves it, not even its name."""
    return NAME


def _check(name: str, schema: Schema) -> None:
    """Raise UsageError for a model that this machine has not admitted, or that does not fit. This imports nothing."""
    held = own_model(name)
    if name != NAME and held is None:
        raise UsageError(f"model {excerpt(name)}: a black box of another site is called {NAME}, and no more")
    if isinstance(held, str):
        check(held, schema)


ANSWERS_KIND = ExpertKind(make=_make, fit=_fit, state=_state, load=_load, check=_check, sent=_sent)
