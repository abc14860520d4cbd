"""A client's contribution under differential privacy: noisy releases, and nothing that does not follow from them."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from mosaic_fl.client.private_plan import Plan, plan_of
from mosaic_fl.config import Config
from mosaic_fl.config.model_names import NO_MODEL
from mosaic_fl.config.privacy_checks import check_private
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.encoders.encoding import encode
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution, no_prototypes
from mosaic_fl.exchange.feature_moments import moments_encoder, of_moments
from mosaic_fl.experts.closed_form import closed_form_state, is_closed_form, network_of
from mosaic_fl.experts.no_model import without_model
from mosaic_fl.experts.private_training import check_private_network, train_privately
from mosaic_fl.generators.base import Generator
from mosaic_fl.generators.moments import NoisyClassMoments, noisy_spec
from mosaic_fl.generators.private_vae import Latents, train_vae_privately
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.registry import build
from mosaic_fl.numerics.accountant import Release
from mosaic_fl.numerics.gaussian_mechanism import Bytes
from mosaic_fl.numerics.noisy_sums import release, release_counts
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.training.monitor import Monitor
from mosaic_fl.training.private import Descent

CPU = torch.device("cpu")


def released(data: Dataset, config: Config, device: torch.device | str = "cpu") -> Dataset:
    """The vectors of which a private contribution tells: the data, or beside pictures those of `moments.encoder`."""
    encoder = moments_encoder(config, data.schema)
    return data if encoder is None else encode(data, encoder, device)


def contribute_privately(
    client: int,
    data: Dataset,
    model: str,
    config: Config,
    monitor: Callable[[str], Monitor],
    source: Bytes = secrets.token_bytes,
    device: torch.device = CPU,
) -> Contribution:
    """The contribution of `client` with its samples `data`: noisy releases, and what follows from these alone.

    Its expert is the closed form `model` of noisy sums, or a network that learns by noisy steps, with group norm in
    place of batch norm, or none. Of pictures beside a public encoder the moments are those of their vectors. Its class
    counts are rounded noisy ones, 0 at least. There is no validation split, so nothing is measured. What is secret is
    from the system's secure source, so no two contributions are alike; `source` is another one in tests alone. Raises
    UsageError, before any work, for what would leave without noise, and for a network that cannot learn so.
    """
    check_private(config, [model])
    plan = plan_of(data.schema, model, config)
    if plan.expert is not None:
        check_private_network(plan.architecture, data.schema)
    work = _Work(client, data, plan, config, monitor, source, device)
    moments = work.moments()
    counts = work.counts() if moments is None else moments.counts
    expert = work.expert(counts)
    monitor("train").progress(1, 1)
    if expert is not None:
        state = copy_state(expert)
    elif model == NO_MODEL:
        state = without_model(_positive(counts))
    else:
        assert moments is not None
        with torch.random.fork_rng(devices=[]):
            state = closed_form_state(model, data.schema, moments.moments)
    told = of_moments(moments, work.vectors.schema) if moments is not None and plan.beside else None
    generator = moments if moments is not None else work.decoder(counts, expert)
    generator = None if told is not None else generator
    monitor("generator").progress(1, 1)
    statement = plan.statement(config)
    note = f"noise for {statement.summary}"
    sends = generator is not None or told is not None
    return Contribution(
        client=client,
        schema=data.schema,
        architecture=network_of(model) if is_closed_form(model) else plan.architecture,
        expert=state,
        class_counts=_positive(counts),
        prototypes=no_prototypes(),
        validation={"samples": 0},
        generator_spec=None if generator is None else generator.spec,
        generator=None if generator is None else copy_state(generator),
        generator_note=note if sends else "generator.family is none",
        privacy=statement,
        moments=told,
    )


def with_model(sent: Contribution, model: str) -> Contribution:
    """A private contribution of noisy sums with the closed form `model` of these, or none, which costs no further ε.

    So a site that changes its model makes no second release. Raises UsageError for one without noisy sums.
    """
    if model == NO_MODEL:
        return replace(sent, architecture=NO_MODEL, expert=without_model(sent.class_counts))
    generator = sent.build_generator()
    if not isinstance(generator, NoisyClassMoments):
        raise UsageError("the private contribution of these data has no noisy class moments: no model follows from it")
    with torch.random.fork_rng(devices=[]):
        expert = closed_form_state(model, sent.schema, generator.moments)
    return replace(sent, architecture=network_of(model), expert=expert)


@dataclass(frozen=True)
class _Work:
    """The releases of one contribution, each made once."""

    client: int
    data: Dataset
    plan: Plan
    config: Config
    monitor: Callable[[str], Monitor]
    source: Bytes
    device: torch.device

    @cached_property
    def vectors(self) -> Dataset:
        """The vectors of which moments tell."""
        return released(self.data, self.config, self.device)

    def counts(self) -> Tensor:
        """Noisy class counts, int64 (C,)."""
        assert self.plan.counts is not None
        return release_counts(self.data.labels, self.data.schema.num_classes, self.plan.counts.noise, self.source)

    def moments(self) -> NoisyClassMoments | None:
        """Noisy class moments; None where the plan has none."""
        if self.plan.moments is None:
            return None
        vectors = self.vectors
        schema = vectors.schema
        mechanism = self.plan.moments
        generator = NoisyClassMoments(noisy_spec(schema), schema)
        by_class = generator.is_by_class
        samples = vectors.samples.only
        noisy = release(samples, vectors.labels, schema.num_classes, mechanism, self.source, by_class=by_class)
        generator.tell_noisy(noisy, mechanism.clip)
        generator.eval()
        return generator

    def expert(self, counts: Tensor) -> Classifier | None:
        """The client's network after its private training, by noisy `counts` (C,); None for a closed form."""
        if self.plan.expert is None:
            return None
        with Stream(self.config.run.seed, "init", self.client).ambient():
            model = build(self.plan.architecture, self.data.schema)
        settings = self.config.train.model_copy(update={"lr": self.config.privacy.lr})
        stream = Stream(self.config.run.seed, "train", self.client)
        descent = self._descent(self.plan.expert, counts)
        listener = self.monitor("train")
        train_privately(model, self.data, _positive(counts), settings, descent, stream, self.device, listener)
        return model

    def decoder(self, counts: Tensor, expert: Classifier | None) -> Generator | None:
        """The client's private `cvae`, which sees samples as the private `expert` does; None without a plan."""
        plan = self.plan
        if plan.network is None or plan.latents is None or plan.counts is None:
            return None
        settings = self.config.generator.model_copy(update={"lr": self.config.privacy.lr})
        latents = Latents(plan.latents, counts, plan.counts.noise)
        stream = Stream(self.config.run.seed, "generator", self.client)
        descent = self._descent(plan.network, counts)
        listener = self.monitor("generator")
        return train_vae_privately(self.data, expert, settings, descent, latents, stream, self.device, listener)

    def _descent(self, release: Release, counts: Tensor) -> Descent:
        return Descent(release, self.config.privacy.gradient, float(_positive(counts).sum()), self.source)


def _positive(counts: Tensor) -> Tensor:
    """Noisy counts (C,) as class counts, 0 at least; where all would be 0 that of the largest is 1."""
    positive = counts.clamp(min=0)
    if not int(positive.sum()):
        positive[int(counts.argmax())] = 1
    return positive
