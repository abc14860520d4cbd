"""Random weights with huge outputs, to drown all others."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from mosaic_fl.attacks.attack import Scene
from mosaic_fl.attacks.outputs import outputs_at, with_outputs
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.numerics.states import State

LOUD = 1000.0  # times the size of honest outputs


def noisy(state: State, rng: torch.Generator) -> State:
    """Each weight matrix or kernel drawn anew from a normal distribution of its own spread; the rest is as it was."""
    return {
        name: torch.randn(tensor.shape, generator=rng).to(tensor.dtype) * tensor.float().std(correction=0)
        if tensor.is_floating_point() and tensor.ndim >= 2
        else tensor
        for name, tensor in sorted(state.items())
    }


def loud(state: State, scene: Scene) -> State:
    """Random weights of a network, and an output layer `LOUD` times as large as it was."""
    drawn = noisy(state, scene.stream.torch())
    weight, bias = outputs_at(drawn, scene.classes)
    return with_outputs({name: drawn[name] for name in state}, weight * LOUD, bias)


def loud_expert(own: Contribution, seen: Sequence[Contribution], scene: Scene) -> Contribution:
    """A loud expert beside an honest generator."""
    return replace(own, expert=loud(dict(own.expert), scene))


def loud_update(before: State, after: State, scene: Scene) -> State:
    """Loud weights in a round of averaging."""
    return loud(after, scene)
