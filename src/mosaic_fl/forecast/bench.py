"""What measurements are made of: untrained networks and a few of the run's own images, and pretended contributions."""

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
from mosaic_fl.forecast.steptimer import EnoughError, StepTimer
from mosaic_fl.models import build
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import copy_state

STEPS = 100_000  # asked of work that a step timer ends


@dataclass(frozen=True)
class Bench:
    """What a measurement needs: settings, `images` of the run (or none), the experts' architectures, the device."""

    config: Config
    schema: Schema
    device: torch.device
    experts: Sequence[str]
    images: Dataset | None = None

    @property
    def stream(self) -> Stream:
        """Randomness that no run has."""
        return Stream(self.config.run.seed, "forecast")

    def data(self, n: int) -> Dataset:
        """n labelled images: the run's own in turn, evenly from all of them, or random ones where there are none."""
        if self.images is not None and len(self.images):
            at = torch.arange(n) * max(1, len(self.images) // n) % len(self.images)
            return self.images.subset(at)
        rng = self.stream.torch()
        images = torch.randint(256, (n, *self.schema.shape), generator=rng, dtype=torch.uint8)
        return image_dataset(images, torch.arange(n) % self.schema.num_classes, self.schema)

    def model(self, architecture: str) -> Classifier:
        """An untrained classifier."""
        with self.stream.ambient():
            return build(architecture, self.schema)

    def outputs(self, n: int, experts: int) -> Tensor:
        """Logits (n, experts, C) of nothing in particular."""
        return torch.randn(n, experts, self.schema.num_classes, generator=self.stream.torch())

    @cached_property
    def contributions(self) -> list[Contribution]:
        """One contribution an expert, of untrained classifiers without generators."""
        states = {name: copy_state(self.model(name)) for name in set(self.experts)}
        counts = torch.full((self.schema.num_classes,), 10)
        empty = torch.zeros(0, dtype=torch.int64)
        nothing = Prototypes(torch.zeros(0, 1), empty, empty)
        return [
            Contribution(k, self.schema, name, states[name], counts, nothing, {}) for k, name in enumerate(self.experts)
        ]


def watched(work: Callable[[StepTimer], object], seconds: float) -> float:
    """Seconds of a step of `work`, which a step timer ends."""
    watch = StepTimer(seconds)
    with suppress(EnoughError):
        work(watch)
    return watch.step_seconds
