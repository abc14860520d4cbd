"""Learnt ways to fuse experts: the meta model and the gate, and both with class moments as one expert more."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from mosaic_fl.config import Config
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.numerics.states import State, copy_state
from mosaic_fl.server.experts import MixtureOfExperts
from mosaic_fl.server.feature_space import FeatureSpace
from mosaic_fl.server.gate import Gate, gate_state, load_gate
from mosaic_fl.server.meta import MetaTransformer
from mosaic_fl.server.meta_samples import draw_for_meta, learns_on_samples
from mosaic_fl.server.meta_training import train_meta
from mosaic_fl.server.moments_gate import STAGE, load_moments_gate, moments_gate_state
from mosaic_fl.server.pool import Sampler
from mosaic_fl.server.prototypes import prototype_outputs
from mosaic_fl.server.teachers import MOMENTS_GATE, MOMENTS_META, Teachers
from mosaic_fl.storage.journal import Journal
from mosaic_fl.training.monitor import Monitor

Product = tuple[State, dict[str, Any]]


def gate(
    contributions: Sequence[Contribution],
    sampler: Callable[[], Sampler],
    config: Config,
    device: torch.device,
    journal: Journal,
) -> Gate | None:
    """The gate on sources; None where no client has a generator."""
    if all(c.generator is None for c in contributions):
        return None
    samples = config.distill.gate_samples
    seed = config.run.seed

    def learn(monitor: Monitor) -> Product:
        return gate_state(contributions, sampler(), samples, seed, device, monitor), {}

    return load_gate(journal.stage("gate", learn).tensors, contributions, seed)


def meta_model(
    contributions: Sequence[Contribution],
    mixture: MixtureOfExperts,
    sampler: Callable[[], Sampler],
    config: Config,
    device: torch.device,
    journal: Journal,
) -> nn.Module | None:
    """The trained meta model; None where the configuration has none, or there are no samples to train it on."""
    from_samples = config.meta.source == "synthetic"
    if config.meta.kind == "none" or (from_samples and not learns_on_samples(contributions, config)):
        return None

    def learn(monitor: Monitor) -> Product:
        if from_samples:
            pool = draw_for_meta(sampler(), mixture, config, contributions[0].schema)
            outputs = mixture.outputs(pool.samples, device)
            labels = pool.labels
        else:
            outputs, labels = prototype_outputs(contributions, mixture)
        model = train_meta(outputs, labels, mixture.weights, config.meta, config.run.seed, device, monitor)
        return copy_state(model), {}

    with torch.random.fork_rng(devices=[]):
        meta = MetaTransformer(mixture.weights, config.meta)
    meta.load_state_dict(journal.stage("meta", learn).tensors)
    return meta.eval()


def with_learnt(
    teachers: Teachers,
    names: set[str],
    contributions: Sequence[Contribution],
    space: FeatureSpace | None,
    sampler: Callable[[], Sampler],
    config: Config,
    device: torch.device,
    journal: Journal,
) -> Teachers:
    """The teachers with those of `names` that learn to fuse the experts and the moments.

    Raises UsageError where nobody told moments beside pictures, or has a generator of whose samples they learn.
    """
    learnt = sorted({MOMENTS_GATE, MOMENTS_META} & names)
    if not learnt:
        return teachers
    if space is None:
        raise UsageError(
            f"distill.teacher is {learnt[0]}, and no client told class moments beside a model: say --moments NAME"
        )
    if all(c.generator is None for c in contributions):
        raise UsageError(f"distill.teacher is {learnt[0]}, which learns from generators, and no client sent one")
    mixture = teachers.mixture
    seed = config.run.seed
    if MOMENTS_GATE in learnt:

        def learn_gate(monitor: Monitor) -> Product:
            samples = config.distill.gate_samples
            closed = space.expert
            return moments_gate_state(contributions, mixture, closed, sampler(), samples, seed, device, monitor), {}

        state = journal.stage(STAGE, learn_gate).tensors
        teachers = replace(teachers, moments_gate=load_moments_gate(state, contributions))
    if MOMENTS_META in learnt:
        weights = joined_weights(mixture.weights, contributions, space)

        def learn_meta(monitor: Monitor) -> Product:
            pool = draw_for_meta(sampler(), mixture, config, contributions[0].schema)
            outputs = mixture.outputs(pool.samples, device)
            beside = torch.cat([outputs, space.expert.log_probabilities(pool.samples, device)[:, None]], 1)
            return copy_state(train_meta(beside, pool.labels, weights, config.meta, seed, device, monitor)), {}

        with torch.random.fork_rng(devices=[]):
            meta = MetaTransformer(weights, config.meta)
        meta.load_state_dict(journal.stage(MOMENTS_META, learn_meta).tensors)
        teachers = replace(teachers, moments_meta=meta.eval())
    return teachers


def joined_weights(weights: Tensor, contributions: Sequence[Contribution], space: FeatureSpace) -> Tensor:
    """Class weights (K + 1, C) of experts with the `weights` (K, C), and of the moments as one expert more.

    The moments count as a client that has all samples of which somebody told them: half of the weight of a class that
    all clients told.
    """
    told = space.moments.counts.double()
    held = torch.stack([c.class_counts for c in contributions]).sum(0).double()
    share = (told / (told + held).clamp(min=1)).to(weights)
    return torch.cat([weights * (1 - share), share[None]])
