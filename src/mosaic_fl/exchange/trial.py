"""Whether received networks give finite outputs, tried as far as that is cheap: what it costs is counted before."""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch

from mosaic_fl.domains.samples import from_network
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.experts.kind import Expert
from mosaic_fl.experts.naming import kind_of
from mosaic_fl.generators.base import Generator, GeneratorSpec, build
from mosaic_fl.models.maps import Work, measure, require_small

AT_ONCE = 128  # images, at most
# For a small file next to nothing, for a large one what reading its bytes excuses.
SECONDS = 0.25
BYTES_A_SECOND = 2**24
MAP_VALUES = 2**20
VALUES_A_BYTE = 1 / 8


@dataclass(frozen=True)
class Trial:
    """What an image costs the expert and the generator of a contribution, and how many `features` the expert gives."""

    schema: Schema
    expert: Work
    generator: Work
    features: int

    @classmethod
    def of(cls, schema: Schema, architecture: str, spec: GeneratorSpec | None) -> "Trial":
        """Counted on the meta device; raises UsageError for networks that cannot be, or whose maps are too large."""
        generator = Work(0, 0, 0, 0) if spec is None else _work(spec, schema)
        expert = kind_of(architecture).outline(architecture, schema)
        return cls(schema, expert.work, generator, expert.features)

    def images(self, size: int) -> tuple[int, int]:
        """(how many images networks of `size` bytes of weights are tried on, how many of them at once).

        At most one of each class; none where the first would cost too much.
        """
        largest = max(self.expert.largest, self.generator.largest, math.prod(self.schema.shape))
        at_once = min(int((MAP_VALUES + VALUES_A_BYTE * size) // largest), AT_ONCE)
        if not at_once:
            return 0, 1
        calls = (self.expert.call_seconds + self.generator.call_seconds) / min(at_once, self.schema.num_classes)
        seconds = self.expert.seconds + self.generator.seconds + calls
        count = int((SECONDS + size / BYTES_A_SECOND) // seconds) if seconds else self.schema.num_classes
        return min(count, self.schema.num_classes), at_once

    @torch.no_grad()
    def run(self, expert: Expert, generator: Generator | None, size: int) -> None:
        """Raise UsageError where the networks, of `size` bytes of weights, give what is not finite.

        What is too costly to be tried here shows where it is used: experts and generators are watched there.
        """
        if generator is not None:
            generator.check()
        count, at_once = self.images(size)
        rng = torch.Generator().manual_seed(0)
        for start in range(0, count, at_once):
            labels = torch.arange(start, min(start + at_once, count))
            images = torch.zeros(len(labels), *self.schema.shape)
            if generator is not None:
                images = generator(torch.randn(len(labels), generator.spec.latent, generator=rng), labels)
                if not bool(images.isfinite().all()):
                    raise UsageError("its generator gives non-finite images")
            answers = expert.log_probabilities(from_network(self.schema.fields, images))
            if not bool(answers.isfinite().all()):
                raise UsageError("its expert gives non-finite outputs")


@lru_cache(maxsize=64)
def _work(spec: GeneratorSpec, schema: Schema) -> Work:
    """What a sample costs a generator that `spec` describes; raises UsageError where its maps are too large."""
    with torch.device("meta"):
        network = build(spec, schema).eval()
    module, inputs, passes = network.one_pass()
    work = measure(module, *inputs)[1].times(passes)
    require_small(f"its generator {spec.family}", network, work)
    return work
