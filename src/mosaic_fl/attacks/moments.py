"""Class moments that lie, told beside a model or in place of one."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from mosaic_fl.attacks.attack import Forge, Scene
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.numerics.states import State

TIMES = 10.0
MEANS = "means"


def moments_by(change: Callable[[State, Scene], State]) -> Forge:
    """The `forge` that changes the moments, in the space of an encoder or of the samples themselves."""

    def forge(own: Contribution, seen: Sequence[Contribution], scene: Scene) -> Contribution:
        if own.moments is not None and MEANS in own.moments.state:
            return replace(own, moments=replace(own.moments, state=change(own.moments.state, scene)))
        if own.generator is not None and MEANS in own.generator:
            return replace(own, generator=change(dict(own.generator), scene))
        raise UsageError(f"the attack changes class moments, and client {own.client} tells none without noise")

    return forge


def scaled(state: State, scene: Scene) -> State:
    """Means `TIMES` as far from 0, and the squares that such data would have."""
    return {**state, MEANS: state[MEANS] * TIMES, "scatter": state["scatter"] * TIMES**2}


def flipped(state: State, scene: Scene) -> State:
    """The first class that the client holds has the mean of the last one, and so on."""
    held = (state["counts"] > 0).nonzero().flatten()
    means = state[MEANS].clone()
    means[held] = means[held.flip(0)]
    return {**state, MEANS: means}
