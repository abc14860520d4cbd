"""The material of measurements: untrained networks, a few of the run's images, and contributions of these networks."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset, image_dataset
from mosaic_fl.domains.schema import Schema
from mosaic_fl.exchange.contribution import Contribution, Prototypes
from mosaic_fl.experts.boosted import HEAD
from mosaic_fl.experts.boosted import load as load_boosted
from mosaic_fl.experts.kind import Expert
from mosaic_fl.experts.naming import kind_of
from mosaic_fl.experts.network import NETWORK
from mosaic_fl.forecast.steptimer import EnoughError, StepTimer
from mosaic_fl.models import build
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.server.boosting import NAME, boost
from mosaic_fl.server.student import Lesson
from mosaic_fl.training.monitor import Recorder

STEPS = 100_000  # more than any step timer lets a work do


@dataclass(frozen=True)
class Bench:
    """The input of a measurement: settings, device, the experts' architectures, and `images` of the run if it has any.

    `received` are contributions whose own experts are measured where they are no networks.

    All randomness is its own, so a measurement does not change the run's results.
    """

    config: Config
    schema: Schema
    device: torch.device
    experts: Sequence[str]
    images: Dataset | None = None
    received: Sequence[Contribution] = ()

    @property
    def stream(self) -> Stream:
        """Randomness that no run uses."""
        return Stream(self.config.run.seed, "forecast")

    def data(self, n: int) -> Dataset:
        """n labelled samples: evenly from the run's own, with repetition, or random ones where the run has none."""
        if self.images is not None and len(self.images):
            indices = torch.arange(n) * max(1, len(self.images) // n) % len(self.images)
            return self.images.subset(indices)
        rng = self.stream.torch()
        values = self.schema.kind.to_rest(torch.rand(n, *self.schema.shape, generator=rng) * 2 - 1)
        return image_dataset(values, torch.arange(n) % self.schema.num_classes, self.schema)

    def model(self, architecture: str) -> Classifier:
        """An untrained classifier."""
        with self.stream.ambient():
            return build(architecture, self.schema)

    @property
    def network(self) -> Classifier | None:
        """An untrained expert that is a network; None where there is none."""
        names = [name for name in self.experts if kind_of(name) is NETWORK]
        return self.model(names[0]) if names else None

    def expert(self, name: str, samples: int = 200) -> Expert:
        """An expert that is no network: a received one, or one that is fitted to a few samples."""
        for contribution in self.received:
            if contribution.architecture == name:
                return contribution.build_expert()
        data = self.data(samples)
        if name.split(":")[0] == HEAD:
            stream = self.stream
            lesson = Lesson(data.samples, data.labels, self.outputs(samples, 1)[:, 0].log_softmax(1))
            state, _ = boost(
                NAME + name.removeprefix(HEAD), self.schema, lesson, self.config.distill, stream, Recorder()
            )
            return load_boosted(name, self.schema, state, "forecast")
        kind = kind_of(name)
        expert: Expert = kind.make(name, self.schema)
        kind.fit(expert, data, data.subset([]), self.config.train, self.stream, self.device, Recorder())
        return expert

    def outputs(self, n: int, experts: int) -> Tensor:
        """Random logits (n, experts, C)."""
        return torch.randn(n, experts, self.schema.num_classes, generator=self.stream.torch())

    @cached_property
    def contributions(self) -> list[Contribution]:
        """One contribution an expert, of untrained classifiers without generators."""
        states = {name: copy_state(self.model(name)) for name in set(self.experts)}
        counts = torch.full((self.schema.num_classes,), 10)
        empty = torch.zeros(0, dtype=torch.int64)
        prototypes = Prototypes(torch.zeros(0, 1), empty, empty)
        return [
            Contribution(k, self.schema, name, states[name], counts, prototypes, {})
            for k, name in enumerate(self.experts)
        ]


def step_seconds(work: Callable[[StepTimer], object], seconds: float) -> float:
    """Seconds of a step of `work`, which gets a step timer as its monitor and is ended by it."""
    timer = StepTimer(seconds)
    with suppress(EnoughError):
        work(timer)
    return timer.step_seconds
