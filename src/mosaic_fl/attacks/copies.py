"""Contributions that are another one's: an honest client's, or one attacker's under several numbers (Sybils)."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from mosaic_fl.attacks.attack import Scene
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.numerics.states import State

HIDING = 0.02  # relative noise on weights, so that copies are not equal


def copied(own: Contribution, seen: Sequence[Contribution], scene: Scene) -> Contribution:
    """The contribution of the honest client with most samples, under the attacker's number."""
    honest = [c for c in seen if c.client not in scene.liars]
    largest = max(honest, key=lambda c: (int(c.class_counts.sum()), -c.client))
    return replace(largest, client=own.client)


def sybil(own: Contribution, seen: Sequence[Contribution], scene: Scene) -> Contribution:
    """The first attacker's contribution, under this one's number."""
    first = next(c for c in seen if c.client == scene.liars[0])
    return replace(first, client=own.client)


def hidden_sybil(own: Contribution, seen: Sequence[Contribution], scene: Scene) -> Contribution:
    """As `sybil`, with noise on the weights of its expert."""
    copy = sybil(own, seen, scene)
    if own.client == scene.liars[0]:
        return copy
    rng = scene.stream.torch()

    def hide(state: State) -> State:
        return {
            name: tensor + HIDING * tensor.std(correction=0) * torch.randn(tensor.shape, generator=rng)
            if tensor.is_floating_point() and tensor.ndim >= 2
            else tensor
            for name, tensor in sorted(state.items())
        }

    return replace(copy, expert=hide(dict(copy.expert)))
