"""A generator from outside: one normal distribution a class, with the mean and the spread of the client's samples."""

import torch
from torch import Tensor, nn

from mosaic_fl.config import GeneratorConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.schema import Schema
from mosaic_fl.generators.base import Generator, GeneratorSpec
from mosaic_fl.generators.family import Family
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.training.monitor import Monitor


class Normal(Generator):
    """x = mean[y] + spread[y] · z; z has as many numbers as a sample."""

    conditional = True
    mean: Tensor
    spread: Tensor

    def __init__(self, spec: GeneratorSpec, schema: Schema) -> None:
        super().__init__()
        self.spec = spec
        self.shape = schema.shape
        self.register_buffer("mean", torch.zeros(schema.num_classes, *schema.shape))
        self.register_buffer("spread", torch.ones(schema.num_classes, *schema.shape))

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return self.mean[labels] + self.spread[labels] * z.view(-1, *self.shape)


def spec(config: GeneratorConfig, schema: Schema) -> GeneratorSpec:
    """As many numbers as a sample has."""
    return GeneratorSpec("normal", schema.kind.zeros(1)[0].numel(), 1)


def train(
    data: Dataset,
    expert: nn.Module,
    config: GeneratorConfig,
    stream: Stream,
    device: torch.device,
    monitor: Monitor,
) -> Normal:
    """The class means and standard deviations of `data`."""
    made = Normal(spec(config, data.schema), data.schema)
    values = data.schema.kind.to_network(data.samples.only)
    for label in data.labels.unique().tolist():
        mine = values[data.labels == label]
        made.mean[label] = mine.mean(0)
        made.spread[label] = mine.std(0, correction=0)
    return made.eval()


NORMAL = Family(
    conditional=True,
    kinds=frozenset({"image", "readings"}),
    build=Normal,
    train=train,
    max_latent=100_000,
    spec=spec,
)
