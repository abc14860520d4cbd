"""Class counts that are not true."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

import torch
from torch import Tensor

from mosaic_fl.attacks.attack import Forge, Scene
from mosaic_fl.exchange.contribution import MAX_COUNT, Contribution
from mosaic_fl.exchange.feature_moments import FAMILY
from mosaic_fl.numerics.states import State

UNDER = 4.9  # times the median number of samples, where a server counts five times that at most (`trust.counts`)


def inflate(factor: float) -> Forge:
    """The `forge` that claims `factor` times as many samples of each class, in moments, too."""
    return lambda own, seen, scene: inflated(own, factor)


def just_under(own: Contribution, seen: Sequence[Contribution], scene: Scene) -> Contribution:
    """As many samples as a server believes that knows a median: `UNDER` times that of all clients."""
    middle = median(int(c.class_counts.sum()) for c in seen)
    return inflated(own, max(1.0, UNDER * middle / int(own.class_counts.sum())))


def claim_all(own: Contribution, seen: Sequence[Contribution], scene: Scene) -> Contribution:
    """The number of samples of each class is the largest that another client has of it: no sum is out of the common."""
    honest = [c.class_counts for c in seen if c.client not in scene.liars]
    counts = torch.stack(honest).max(0).values
    return replace(own, class_counts=torch.maximum(counts, own.class_counts))


def inflated(own: Contribution, factor: float) -> Contribution:
    """A contribution that claims `factor` times as many samples of each class, in its moments, too."""

    def times(counts: Tensor) -> Tensor:
        return (counts.double() * factor).long().clamp(max=MAX_COUNT)

    def of_moments(state: State) -> State:
        return {**state, "counts": times(state["counts"]), "scatter": state["scatter"] * factor}

    told = own.moments
    draws_moments = own.generator_spec is not None and own.generator_spec.family == FAMILY
    return replace(
        own,
        class_counts=times(own.class_counts),
        field_counts=None if own.field_counts is None else times(own.field_counts),
        generator=of_moments(dict(own.generator)) if draws_moments and own.generator is not None else own.generator,
        moments=replace(told, state=of_moments(told.state)) if told is not None and "scatter" in told.state else told,
    )


def then(first: Forge, second: Forge) -> Forge:
    """One `forge` after the other."""

    def both(own: Contribution, seen: Sequence[Contribution], scene: Scene) -> Contribution:
        return second(first(own, seen, scene), seen, scene)

    return both
