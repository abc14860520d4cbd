"""`discriminant`, `quadratic`, `mixture`, `ridge`: classifiers in closed form, of class moments.

They travel as networks.
"""

from functools import partial
from math import prod

import torch
from torch import Tensor

from mosaic_fl.config import TrainConfig
from mosaic_fl.config.model_names import CLOSED_FORMS
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.experts.kind import ExpertKind
from mosaic_fl.experts.network import NETWORK
from mosaic_fl.experts.training import score
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.gaussian import has_covariances
from mosaic_fl.models.registry import build, outline
from mosaic_fl.numerics.class_covariances import LEAST_OWN, with_own
from mosaic_fl.numerics.components import (
    MOST,
    Components,
    centres_of,
    components_of,
    mixture_discriminant,
    together,
)
from mosaic_fl.numerics.moments import LEAST, Moments, discriminant, moments_of, ridge
from mosaic_fl.numerics.quadratic import quadratic
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State, copy_state
from mosaic_fl.training.monitor import Monitor

NETWORK_NAME = "linear"
QUADRATIC = "quadratic"
MIXTURE = "mixture"
LARGEST = 4096  # numbers of a sample: the scatter is their square
SAMPLES_A_NUMBER = 2  # of a class whose covariance leaves a site
AT_SITE = 8  # components of a class in a `mixture` of one site's samples
STRENGTH = 0.1  # of the penalty of ridge, as a share of the mean variance


def is_closed_form(name: str) -> bool:
    """Whether the model of this name follows from class moments, and is no network that is trained."""
    return name in CLOSED_FORMS


def network_of(name: str) -> str:
    """The network as which the closed form of this name travels."""
    return {QUADRATIC: "gaussian", MIXTURE: f"subclasses:{MOST}"}.get(name, NETWORK_NAME)


def closed_form_state(name: str, schema: Schema, moments: Moments, components: Components | None = None) -> State:
    """The state of the network `network_of(name)` that the name means for these moments.

    Where classes share one covariance `quadratic` is the discriminant: see `has_covariances`. So is `mixture` without
    `components` of the classes.
    """
    if name == MIXTURE:
        size = moments.means.shape[1]
        each = components or components_of(moments, together([], size))
        weights, biases = mixture_discriminant(each, schema.num_classes)
        return {"head.weight": weights.view(-1, size), "head.bias": biases.flatten()}
    if name == QUADRATIC and has_covariances(schema):
        return dict(zip(("factors", "shifts", "head.offsets"), quadratic(moments), strict=True))
    return linear_state(schema, *(ridge(moments, STRENGTH) if name == "ridge" else discriminant(moments)))


def linear_state(schema: Schema, weight: Tensor, bias: Tensor) -> State:
    """The state of the network `linear` with these weights (C, d) and biases (C,)."""
    with torch.random.fork_rng(devices=[]):
        network = build(NETWORK_NAME, schema)
    state: dict[str, Tensor] = copy_state(network)
    return {**state, "head.weight": weight, "head.bias": bias}


def check(name: str, schema: Schema) -> None:
    """Raise UsageError for samples that are too large, or no samples of one shape."""
    if name not in CLOSED_FORMS:
        raise UsageError(f"model {name!r} takes no numbers: say {name.split(':')[0]}")
    outline(network_of(name), schema)
    size = prod(schema.shape)
    if size > LARGEST:
        raise UsageError(f"model {name} of samples of {size:,} numbers: at most {LARGEST:,}; name a network, as mlp:64")


def _fit(
    name: str,
    expert: Classifier,
    train: Dataset,
    validation: Dataset,
    config: TrainConfig,
    stream: Stream,
    device: torch.device,
    monitor: Monitor,
) -> dict[str, float]:
    """As `Fit`, in one pass: nothing of it is random, but where the clusters of a `mixture` start.

    A class of fewer than `LEAST` samples is as one without any: its weights would tell its mean, which of one sample
    is that sample. One of fewer than `SAMPLES_A_NUMBER` for each number of a sample has no covariance of its own: that
    of few samples tells in which directions each of them lies.
    """
    least_own = SAMPLES_A_NUMBER * prod(train.schema.shape)
    moments = moments_of_data(train, LEAST, own=name == QUADRATIC, least_own=max(least_own, LEAST))
    components = components_of_data(train, moments, AT_SITE, stream) if name == MIXTURE else None
    expert.load_state_dict(dict(closed_form_state(name, train.schema, moments, components)))
    expert.eval()
    monitor.progress(1, 1)
    return score(expert, validation, device)


def moments_of_data(data: Dataset, least: int = 1, *, own: bool = False, least_own: int = LEAST_OWN) -> Moments:
    """The moments of samples of one field as networks take them, flattened; see `moments_of`.

    With `own` each class of `least_own` samples and more has a covariance, where `has_covariances` says so.
    """
    vectors = _vectors(data)
    moments = moments_of(vectors, data.labels, data.schema.num_classes, least=least)
    return with_own(moments, vectors, data.labels, least_own) if own and has_covariances(data.schema) else moments


def components_of_data(data: Dataset, moments: Moments, most: int, stream: Stream) -> Components:
    """The components of classes of the samples whose `moments` these are, `most` a class at most."""
    return components_of(moments, centres_of(_vectors(data), data.labels, moments, most, stream))


def _vectors(data: Dataset) -> Tensor:
    """Samples of one field as networks take them, flattened: float32 (n, d)."""
    inputs = data.samples.inputs()
    assert isinstance(inputs, Tensor)
    return inputs.flatten(1)


def _kind(name: str) -> ExpertKind:
    network = network_of(name)
    return ExpertKind(
        make=lambda _, schema: build(network, schema),
        fit=partial(_fit, name),
        state=copy_state,
        load=lambda _, schema, state, source: NETWORK.load(network, schema, state, source),
        check=check,
        outline=lambda _, schema: outline(network, schema),
        sent=lambda _: network,
    )


DISCRIMINANT = _kind("discriminant")
QUADRATIC_KIND = _kind(QUADRATIC)
MIXTURE_KIND = _kind(MIXTURE)
RIDGE = _kind("ridge")
