"""Networks as experts: the classifiers of `models`, which have all capabilities."""

from functools import partial

import torch

from mosaic_fl.config import TrainConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.schema import Schema
from mosaic_fl.experts.capability import Capability
from mosaic_fl.experts.kind import ExpertKind
from mosaic_fl.experts.training import train_classifier
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.loading import load_into, share_into
from mosaic_fl.models.registry import build, check, is_foreign, outline
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State, copy_state
from mosaic_fl.training.monitor import Monitor


def fit(
    expert: Classifier,
    train: Dataset,
    validation: Dataset,
    config: TrainConfig,
    stream: Stream,
    device: torch.device,
    monitor: Monitor,
) -> dict[str, float]:
    """See `train_classifier`."""
    return train_classifier(expert, train, validation, config, stream, device, monitor).validation


def load(name: str, schema: Schema, state: State, source: str) -> Classifier:
    """The classifier `name` with the weights `state`, in eval mode, for inference; see `share_into`."""
    into = partial(load_into, foreign=True) if is_foreign(name) else share_into
    with torch.random.fork_rng(devices=[]):
        return into(lambda: build(name, schema), state, source)


NETWORK = ExpertKind(
    make=build,
    fit=fit,
    state=copy_state,
    load=load,
    check=check,
    capabilities=frozenset(Capability),
    outline=outline,
)
