"""Generators that draw nothing of use: none at all, blank, noise, one sample a class."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from mosaic_fl.attacks.attack import Forge, Scene
from mosaic_fl.attacks.loud import noisy
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.numerics.states import State

DENSITY = "density."  # the latents of a VAE, whose numbers are checked on arrival
ENTRANCE = "enter.weight"  # of generators that are networks, from the latents
Change = Callable[[State, Contribution, Scene], State]


def generator_by(change: Change) -> Forge:
    """The `forge` that changes the weights of the generator."""

    def forge(own: Contribution, seen: Sequence[Contribution], scene: Scene) -> Contribution:
        if own.generator is None:
            raise UsageError(f"the attack changes a generator, and client {own.client} sends none")
        fixed = {name: tensor for name, tensor in own.generator.items() if name.startswith(DENSITY)}
        network = {name: tensor for name, tensor in own.generator.items() if name not in fixed}
        return replace(own, generator={**change(network, own, scene), **fixed})

    return forge


def absent(own: Contribution, seen: Sequence[Contribution], scene: Scene) -> Contribution:
    """A contribution without its generator."""
    return replace(own, generator_spec=None, generator=None, generator_note="")


def blank(state: State, own: Contribution, scene: Scene) -> State:
    """Weights of 0: every sample is the same."""
    return {name: torch.zeros_like(t) if t.is_floating_point() else t for name, t in state.items()}


def noise(state: State, own: Contribution, scene: Scene) -> State:
    """Random weights."""
    return noisy(state, scene.stream.torch())


def collapsed(state: State, own: Contribution, scene: Scene) -> State:
    """Latents without any effect: one sample a class."""
    spec = own.generator_spec
    if spec is None or ENTRANCE not in state:
        family = "none" if spec is None else spec.family
        raise UsageError(f"the attack takes the latents from a cvae or a dcgan, and client {own.client} sends {family}")
    entrance = state[ENTRANCE].clone()
    entrance[:, : spec.latent] = 0
    return {**state, ENTRANCE: entrance}
