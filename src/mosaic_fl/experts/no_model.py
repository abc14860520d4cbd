"""The kind of expert `none`: a site without a model. It tells its classes' shares, which its counts say anyway."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mosaic_fl.config import TrainConfig
from mosaic_fl.config.model_names import NO_MODEL
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError, excerpt
from mosaic_fl.experts.kind import ExpertKind
from mosaic_fl.experts.training import score
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State
from mosaic_fl.training.monitor import Monitor

COUNTS = "counts"
MOST = 2**40  # samples of a class


@dataclass
class NoModel:
    """Answers each sample with the shares of the site's classes, from `counts` int64 (C,), one more each (Laplace)."""

    counts: Tensor

    def log_probabilities(self, samples: Samples, device: torch.device | str = "cpu") -> Tensor:
        """float32 (n, C), the same for every sample."""
        shares = self.counts.double() + 1
        return (shares / shares.sum()).log().float().expand(len(samples), -1)


def has_model(name: str) -> bool:
    """Whether an expert of that name looks at samples."""
    return name != NO_MODEL


def without_model(counts: Tensor) -> State:
    """The state of the expert of a site with these `counts` (C,)."""
    return {COUNTS: counts}


def _fit(
    expert: NoModel,
    train: Dataset,
    validation: Dataset,
    config: TrainConfig,
    stream: Stream,
    device: torch.device,
    monitor: Monitor,
) -> dict[str, float]:
    """Counts classes; nothing is random."""
    expert.counts = train.class_counts()
    monitor.progress(1, 1)
    return score(expert, validation, device)


def _load(name: str, schema: Schema, state: State, source: str) -> NoModel:
    _check(name, schema)
    counts = state.get(COUNTS)
    if (
        counts is None
        or len(state) != 1
        or counts.dtype != torch.int64
        or counts.shape != (schema.num_classes,)
        or bool(((counts < 0) | (counts > MOST)).any())
    ):
        raise UsageError(f"{source}: a site without a model ({NO_MODEL}) has {schema.num_classes} counts, and no more")
    return NoModel(counts)


def _check(name: str, schema: Schema) -> None:
    if name != NO_MODEL:
        raise UsageError(f"model {excerpt(name)}: {NO_MODEL} takes no numbers")


NONE = ExpertKind(
    make=lambda _, schema: NoModel(torch.zeros(schema.num_classes, dtype=torch.int64)),
    fit=_fit,
    state=lambda expert: without_model(expert.counts),
    load=_load,
    check=_check,
)
