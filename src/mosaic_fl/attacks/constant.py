"""A network that says one class whatever it sees, and is sure of it."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from mosaic_fl.attacks.attack import Scene
from mosaic_fl.attacks.counts import inflated
from mosaic_fl.attacks.outputs import outputs_at, with_outputs
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.numerics.states import State

SURE = 20.0  # nats by which the constant class is ahead
CLAIM = 1000.0


def constant(state: State, scene: Scene) -> State:
    """The weights that say the client's most frequent class always."""
    weight, bias = outputs_at(state, scene.classes)
    if bias is None:
        raise UsageError("the attack constant needs an output layer with a bias")
    logits = torch.zeros_like(bias)
    logits[int(scene.counts[scene.client].argmax())] = SURE
    return with_outputs(state, torch.zeros_like(weight), logits)


def constant_expert(own: Contribution, seen: Sequence[Contribution], scene: Scene) -> Contribution:
    """A constant expert that claims `CLAIM` times the largest honest count in every class."""
    honest = torch.stack([c.class_counts for c in seen if c.client not in scene.liars])
    claims = torch.full_like(own.class_counts, int(honest.max()))
    return inflated(
        replace(own, expert=constant(dict(own.expert), scene), class_counts=claims, field_counts=None), CLAIM
    )


def constant_update(before: State, after: State, scene: Scene) -> State:
    """The constant weights in a round of averaging."""
    return constant(after, scene)
