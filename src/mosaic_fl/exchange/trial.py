"""A trial of received networks: do they give finite outputs?

The cost of a trial is estimated first, so that a small file cannot make the server work for long.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from mosaic_fl.domains.samples import Inputs, example_inputs, from_network
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.experts.kind import Expert
from mosaic_fl.experts.naming import kind_of
from mosaic_fl.generators.base import PRODUCT, Generator, GeneratorSpec, build
from mosaic_fl.models.maps import Work, measure, require_small

AT_ONCE = 128  # images, at most
# The bounds on a trial grow with the size of the file: a large one takes time to read anyway.
SECONDS = 0.25
BYTES_A_SECOND = 2**24
MAP_VALUES = 2**20
VALUES_A_BYTE = 1 / 8


@dataclass(frozen=True)
class Trial:
    """The work for one image of a contribution's expert and generator, and the number of the expert's `features`."""

    schema: Schema
    expert: Work
    generator: Work
    features: int

    @classmethod
    def of(cls, schema: Schema, architecture: str, spec: GeneratorSpec | None, inputs: Schema | None = None) -> "Trial":
        """Estimated on the meta device; raises UsageError where networks cannot be built, or maps are too large.

        `inputs` is the schema of the samples that the expert takes, if that is not the whole one.
        """
        generator = Work(0, 0, 0, 0) if spec is None else generator_work(spec, schema)
        expert = kind_of(architecture).outline(architecture, schema if inputs is None else inputs)
        return cls(schema, expert.work, generator, expert.features)

    def skips(self, size: int) -> bool:
        """Whether networks of `size` bytes of weights are too costly for a trial in this process."""
        return not self.images(size)[0]

    def images(self, size: int) -> tuple[int, int]:
        """(images in the trial of networks with `size` bytes of weights, images in one batch of it).

        At most one image of each class; 0 where even one image costs too much.
        """
        largest = max(self.expert.largest, self.generator.largest, self.schema.size)
        at_once = min(int((MAP_VALUES + VALUES_A_BYTE * size) // largest), AT_ONCE)
        if not at_once:
            return 0, 1
        calls = (self.expert.call_seconds + self.generator.call_seconds) / min(at_once, self.schema.num_classes)
        seconds = self.expert.seconds + self.generator.seconds + calls
        count = int((SECONDS + size / BYTES_A_SECOND) // seconds) if seconds else self.schema.num_classes
        return min(count, self.schema.num_classes), at_once

    @torch.no_grad()
    def run(self, expert: Expert | None, generator: Generator | None, size: int, least: int = 0) -> None:
        """Raise UsageError where the networks, of `size` bytes of weights, give outputs that are not finite.

        `expert` is None where it is at its site. At least `least` images are tried, whatever they cost.
        """
        if generator is not None:
            generator.check()
        count, at_once = self.images(size)
        count = max(count, least)
        rng = torch.Generator().manual_seed(0)
        for start in range(0, count, at_once):
            labels = torch.arange(start, min(start + at_once, count))
            images: Inputs = example_inputs(self.schema.fields, len(labels), torch.zeros)
            if generator is not None:
                images = generator.outputs(torch.randn(len(labels), generator.spec.latent, generator=rng), labels)
                if not all(bool(values.isfinite().all()) for values in _tensors(images)):
                    raise UsageError("its generator gives non-finite images")
            if expert is None:
                continue
            answers = expert.log_probabilities(from_network(self.schema.fields, images))
            if not bool(answers.isfinite().all()):
                raise UsageError("its expert gives non-finite outputs")


def _tensors(values: Inputs) -> list[Tensor]:
    return [values] if isinstance(values, Tensor) else list(values.values())


@lru_cache(maxsize=64)
def generator_work(spec: GeneratorSpec, schema: Schema) -> Work:
    """The work for one sample of the generator `spec`; raises UsageError where its maps are too large."""
    if spec.family == PRODUCT:
        works = [
            generator_work(member, schema.part([name])) for name, member in zip(spec.fields, spec.members, strict=True)
        ]
        return Work(
            max(work.largest for work in works),
            sum(work.values for work in works),
            sum(work.operations for work in works),
            sum(work.calls for work in works),
        )
    with torch.device("meta"):
        network = build(replace(spec, members=spec.unlike), schema).eval()  # like members cost the same
    module, inputs, passes = network.one_pass()
    work = measure(module, *inputs)[1].times(passes)
    require_small(f"its generator {spec.family}", network, work)
    return work
