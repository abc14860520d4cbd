"""One part honest and the other one not: an expert beside another's generator."""

from collections.abc import Sequence
from dataclasses import replace

from mosaic_fl.attacks.attack import Forge, Scene
from mosaic_fl.attacks.labels import Order, renumber, renumber_expert
from mosaic_fl.exchange.contribution import Contribution


def expert_alone(order: Order) -> Forge:
    """The `forge` that gives an honest client's expert the wrong numbers of `order`, and nothing else."""

    def forge(own: Contribution, seen: Sequence[Contribution], scene: Scene) -> Contribution:
        return replace(own, expert=renumber_expert(dict(own.expert), order(scene)))

    return forge


def generator_alone(order: Order) -> Forge:
    """The `forge` behind `relabel(order)` that gives all but the generator its right numbers again."""

    def forge(own: Contribution, seen: Sequence[Contribution], scene: Scene) -> Contribution:
        return renumber(own, order(scene).argsort())

    return forge
