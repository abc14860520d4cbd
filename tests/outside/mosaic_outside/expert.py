"""A kind of expert from outside, no network: each class is its samples' mean, and the nearest one is likeliest."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mosaic_fl.config import TrainConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.samples import Inputs, Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.experts.kind import ExpertKind
from mosaic_fl.experts.training import score
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State
from mosaic_fl.training.monitor import Monitor

FAR = 1e6  # squared distance of a class without samples


@dataclass
class NearestMean:
    """`means` (C, d) of the classes' samples; `held` bool (C,): which classes had any."""

    means: Tensor
    held: Tensor

    def log_probabilities(self, samples: Samples, device: torch.device | str = "cpu") -> Tensor:
        distances = torch.cdist(rows(samples.inputs()), self.means) ** 2
        return -distances.masked_fill(~self.held, FAR)


def rows(inputs: Inputs) -> Tensor:
    assert isinstance(inputs, Tensor)
    return inputs.flatten(1)


def make(name: str, schema: Schema) -> NearestMean:
    values = schema.kind.zeros(1)[0].numel()
    return NearestMean(torch.zeros(schema.num_classes, values), torch.zeros(schema.num_classes, dtype=torch.bool))


def fit(
    expert: NearestMean,
    train: Dataset,
    validation: Dataset,
    config: TrainConfig,
    stream: Stream,
    device: torch.device,
    monitor: Monitor,
) -> dict[str, float]:
    values = rows(train.samples.inputs())
    for label in train.labels.unique().tolist():
        expert.means[label] = values[train.labels == label].mean(0)
        expert.held[label] = True
    return score(expert, validation, device)


def state(expert: NearestMean) -> State:
    return {"means": expert.means, "held": expert.held}


def load(name: str, schema: Schema, learnt: State, source: str) -> NearestMean:
    expected = make(name, schema)
    means, held = learnt.get("means"), learnt.get("held")
    if means is None or held is None or means.shape != expected.means.shape or held.shape != expected.held.shape:
        raise UsageError(f"{source}: these are not the class means of such samples")
    return NearestMean(means.float(), held.bool())


def check(name: str, schema: Schema) -> None:
    if name != "nearest_mean":
        raise UsageError(f"model {name!r}: nearest_mean has no numbers")


NEAREST_MEAN = ExpertKind(make=make, fit=fit, state=state, load=load, check=check)
