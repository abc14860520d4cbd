"""The clients' work, counted: local training, the generator, and the other parts of a contribution."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log2
from typing import Any

import torch

from mosaic_fl.client.choice import pick_family, rivals
from mosaic_fl.client.contribute import Site, split
from mosaic_fl.client.private_plan import generator_steps as private_generator_steps
from mosaic_fl.config import Config
from mosaic_fl.domains.schema import Schema
from mosaic_fl.experts.answers.kind import is_black_box
from mosaic_fl.experts.closed_form import NETWORK_NAME
from mosaic_fl.experts.private_training import steps_for_rate
from mosaic_fl.experts.training import steps_for
from mosaic_fl.forecast.foreign import is_network
from mosaic_fl.forecast.sizes import contribution_bytes, generator_spec
from mosaic_fl.forecast.work import Job, Unit
from mosaic_fl.generators.base import GeneratorSpec
from mosaic_fl.registries import GENERATORS

FIT = "fit"
"""The stage in which clients fit models that are no networks."""
TASK = 0.02  # seconds to send a task and its answer, and to build its network
COMPARISON = 1.0  # seconds to see what a generator's samples teach
PRIVATE = 3.0  # times what a step costs whose gradients are not those of single samples
PASSES = 2.0  # how often a contribution's bytes are written or read in all


@dataclass(frozen=True)
class Share:
    """A client's share of the data: `counts` training samples by class, `validation` samples; and its architecture."""

    client: int
    architecture: str
    counts: tuple[int, ...]
    validation: int

    @property
    def samples(self) -> int:
        """Number of training samples."""
        return sum(self.counts)


def share_of(site: Site, config: Config) -> Share:
    """The client's share, after the split into training and validation."""
    train, validation = split(site, config)
    return Share(site.client, site.architecture, tuple(train.class_counts().tolist()), len(validation))


def training(
    stage: str, share: Share, architecture: str, config: Config, changes: Mapping[str, Any] | None = None
) -> list[Job]:
    """Local training of `architecture` with `changes` to `[train]`, and the checks on the validation split.

    A model that is no network is fitted in a stage of its own, which no budget of steps makes shorter.
    """
    if is_black_box(architecture):
        return []
    if not is_network(architecture):
        checks = [Job(FIT, Unit("forward", architecture), share.validation)] if share.validation else []
        return [Job(FIT, Unit("fit", architecture), share.samples), *checks]
    changes = dict(changes or {})
    settings = config.train.model_copy(update=changes)
    steps = steps_for(share.samples, settings)
    images = (ceil(steps / settings.check_every) + 1) * share.validation
    unit_changes = tuple(
        sorted((key, value) for key, value in changes.items() if key not in ("min_steps", "max_steps"))
    )
    step = Unit("train", architecture, rung(share.samples, settings.batch_size), unit_changes)
    if config.privacy.epsilon:
        return [Job(stage, step, steps_for_rate(config.privacy.rate, settings) * _private_batches(share, step, config))]
    return [Job(stage, step, steps), Job(stage, Unit("forward", architecture), images)]


def _private_batches(share: Share, step: Unit, config: Config) -> float:
    """A private step in steps of the measured batch: of a share of all samples, with gradients of single ones."""
    return PRIVATE * max(1.0, config.privacy.rate * share.samples / step.batch)


def contribution(share: Share, config: Config, schema: Schema, device: torch.device) -> list[Job]:
    """All jobs of a client's contribution."""
    jobs = training("train", share, share.architecture, config)
    spec = spec_of(share, config, schema, device)
    if spec is not None:
        classes = sum(count > 0 for count in share.counts)
        others = rivals(config.generator, share.samples, share.validation, classes, schema)
        for family in (spec.family, *others):
            jobs += _fit(family, share, config)
        if others:
            jobs.append(Job("generator", Unit("fixed"), COMPARISON * (1 + len(others))))
    if config.prototypes.per_class and (schema.is_space or is_network(share.architecture)):
        name = NETWORK_NAME if schema.is_space else share.architecture
        jobs.append(Job("generator", Unit("prototypes", name), share.samples))
    if config.moments.encoder:
        jobs.append(Job("generator", Unit("encode", config.moments.encoder), share.samples))
    size = contribution_bytes(share.architecture, schema, share.counts, config, spec)
    return [*jobs, Job("generator", Unit("packing"), PASSES * size), Job("generator", Unit("fixed"), TASK)]


def _fit(name: str, share: Share, config: Config) -> list[Job]:
    """The jobs of the fit of a generator of the family `name`."""
    family = GENERATORS[name]
    jobs = list[Job]()
    if family.has_steps:
        unit = Unit("generator", name, rung(share.samples, config.generator.batch_size))
        steps: float = config.generator.steps_for(share.samples)
        if config.privacy.epsilon:
            steps = private_generator_steps(config) * _private_batches(share, unit, config)
        jobs.append(Job("generator", unit, steps))
    if family.fits_density or not family.has_steps:
        jobs.append(Job("generator", Unit("density", name), share.samples))
    return jobs


def spec_of(share: Share, config: Config, schema: Schema, device: torch.device) -> GeneratorSpec | None:
    """The generator that the client trains, of compared ones the first; None where it trains none."""
    family, _ = pick_family(config.generator, share.samples, schema, device)
    if family == "none":
        return None
    return generator_spec(family, config.generator, schema)


def rung(samples: int, batch: int) -> int:
    """The batch size to measure: `batch`, or for a client with fewer samples the power of two nearest to their number.

    So clients of all sizes share a few measurements.
    """
    return batch if samples >= batch else max(2, 2 ** round(log2(max(2, samples))))


def largest_first(shares: Sequence[Share]) -> list[Share]:
    """The shares in the order in which workers take them: the largest first."""
    return sorted(shares, key=lambda share: -(share.samples + share.validation))
