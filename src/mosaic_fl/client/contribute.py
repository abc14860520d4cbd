"""A client's whole work: it trains on private data and returns one contribution."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.client.generators import check_generators, train_generator
from mosaic_fl.client.moments import feature_moments
from mosaic_fl.client.private import contribute_privately
from mosaic_fl.client.prototypes import prototypes
from mosaic_fl.config import Config
from mosaic_fl.config.checks import check_prototypes
from mosaic_fl.data.validation import hold_out
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.samples import to_tensors
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution, Prototypes, no_prototypes
from mosaic_fl.exchange.feature_moments import moments_encoder, require_something
from mosaic_fl.experts.answers.kind import is_black_box
from mosaic_fl.experts.capability import Capability
from mosaic_fl.experts.naming import kind_of
from mosaic_fl.experts.reading import built_on, check_fields, rows_for
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.registry import build
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State, copy_state
from mosaic_fl.storage.files import sha256
from mosaic_fl.training.monitor import Monitor


@dataclass(frozen=True)
class Site:
    """One client: its number, its private data and the name of its architecture."""

    client: int
    data: Dataset
    architecture: str

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what its answers depend on: its architecture, and its data with their schema."""
        return self._digest([self.architecture, self.data.schema.to_json()])

    @cached_property
    def data_digest(self) -> str:
        """SHA-256 of its data with their schema, whatever its model: by it the site's ledger knows the data."""
        return self._digest(self.data.schema.to_json())

    def _digest(self, about: Any) -> str:
        tensors = (*to_tensors(self.data.samples, "").values(), self.data.labels)
        return sha256(json.dumps(about).encode(), *(part.contiguous().reshape(-1).numpy().data for part in tensors))


def contribute(
    site: Site,
    config: Config,
    device: torch.device,
    monitor: Callable[[str], Monitor],
    start: Mapping[str, Tensor] | None = None,
    trained: Contribution | None = None,
) -> Contribution:
    """Train the site's classifier and generator, take its moments, and collect the contribution that leaves the site.

    The classifier starts from the weights `start`, if there are any. With `trained`, an earlier contribution of this
    very training, its classifier is taken over and not trained again.

    A validation split is held out first, and neither network learns from it. `monitor(stage)` gives the listener for
    the stages "train" and "generator". All randomness comes from (config.run.seed, stage, client). Raises UsageError,
    before any training, where the generator of the settings cannot be trained here, or nothing reads its prototypes.
    With ε in the settings all of it is noisy instead: see `private`.
    """
    if config.privacy.epsilon:
        if start is not None or trained is not None:
            raise UsageError("a private contribution begins from nothing that was trained: set rounds.warm_up = 0")
        return contribute_privately(site.client, site.data, site.architecture, config, monitor, device=device)
    check_prototypes(config)
    train, validation = split(site, config)
    if train.schema.joins:
        check_fields(site.architecture, train.schema, train.samples.fields)
    inputs = built_on(site.architecture, train.schema, train.samples.fields)
    seen = rows_for(site.architecture, train, inputs)
    if not len(seen):
        raise UsageError(
            f"no sample has all of {', '.join(inputs.fields)}, which {site.architecture} needs: name fusion"
        )
    kind = kind_of(site.architecture)
    with Stream(config.run.seed, "init", site.client).ambient():
        expert = kind.make(site.architecture, inputs)
    network = expert if isinstance(expert, Classifier) else None
    check_generators(train, network, config.generator, device)
    moments_encoder(config, train.schema)
    require_something(config, [site.architecture])
    weights = start if trained is None else trained.expert
    if weights is not None and network is not None:
        network.load_state_dict(dict(weights))
        network.eval()
    elif trained is not None:
        expert = kind_of(trained.architecture).load(trained.architecture, inputs, dict(trained.expert), "its own model")
    if trained is None:
        stream = Stream(config.run.seed, "train", site.client)
        held_back = rows_for(site.architecture, validation, inputs)
        figures = kind.fit(expert, seen, held_back, config.train, stream, device, monitor("train"))
    else:
        figures = trained.validation
    seed = config.run.seed
    listener = monitor("generator")
    generator, note = train_generator(train, validation, network, config.generator, seed, site.client, device, listener)
    return Contribution(
        client=site.client,
        schema=train.schema,
        architecture=kind.sent(site.architecture),
        expert=kind.state(expert),
        class_counts=train.class_counts(),
        prototypes=_prototypes(site, seen, network if Capability.FEATURES in kind.capabilities else None, config),
        validation=figures,
        generator_spec=generator.spec if generator else None,
        generator=copy_state(generator) if generator else None,
        generator_note=note,
        field_counts=train.field_counts() if train.schema.joins else None,
        moments=feature_moments(train, config, site.client, device),
    )


def _prototypes(site: Site, train: Dataset, expert: Classifier | None, config: Config) -> Prototypes:
    """Of vectors their centres, whatever the expert is, so that all sites' prototypes lie in one space."""
    if train.schema.is_space and config.prototypes.per_class:
        expert = None
    elif expert is None:
        return no_prototypes()
    return prototypes(expert, train, config.prototypes, Stream(config.run.seed, "prototypes", site.client))


def common_start(config: Config, architecture: str, schema: Schema) -> State | None:
    """The weights from which all clients of a single exchange start; None where each client starts from its own.

    They share a start where the server averages experts: weights with different starts have no meaningful average.
    """
    if config.experts.kind != "class_average":
        return None
    with Stream(config.run.seed, "fedavg-init").ambient():
        return copy_state(build(architecture, schema))


def split(site: Site, config: Config) -> tuple[Dataset, Dataset]:
    """The site's (training, validation) samples: the same in every stage of a run.

    A black box is not measured here, so all its samples are there for its generator. Neither is a private client: what
    its samples say of a model would leave without noise.
    """
    unmeasured = is_black_box(site.architecture) or config.privacy.epsilon
    share = 0.0 if unmeasured else config.data.validation
    return hold_out(site.data, share, Stream(config.run.seed, "validation", site.client))
