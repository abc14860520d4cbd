"""Wrong labels: permutations of classes, in data and in the outputs of a trained expert."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from mosaic_fl.attacks.attack import Scene
from mosaic_fl.attacks.outputs import outputs_at, with_outputs
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State

Order = Callable[[Scene], Tensor]
"""What an attacker knows -> int64 (C,): the label that it gives samples of each class."""
FEW = 1  # other holders of a class that is rare


def flip(scene: Scene) -> Tensor:
    """y → C − 1 − y."""
    return torch.arange(scene.classes).flip(0)


def shift(scene: Scene) -> Tensor:
    """y → y + 1, the last to the first."""
    return torch.arange(scene.classes).roll(-1)


def numbering(scene: Scene) -> Tensor:
    """Another order of all classes, drawn by the client itself."""
    return _derangement(scene.classes, scene.stream)


def agreed_numbering(scene: Scene) -> Tensor:
    """Another order of all classes, which all attackers share."""
    return _derangement(scene.classes, scene.shared)


def pair(scene: Scene) -> Tensor:
    """The two classes of which the client has most change places, and no other does."""
    first, second = scene.counts[scene.client].argsort(descending=True, stable=True)[:2].tolist()
    order = torch.arange(scene.classes)
    order[[first, second]] = order[[second, first]]
    return order


def rare(scene: Scene) -> Tensor:
    """y → C − 1 − y for classes that at most `FEW` honest clients hold, or for the one that fewest hold.

    It is no permutation: two classes may then have the same label.
    """
    own = scene.counts[scene.client] > 0
    honest = [k for k in range(len(scene.counts)) if k not in scene.liars]
    holders = (scene.counts[honest] > 0).sum(0)
    fewest = torch.where(own, holders, len(scene.counts)).min()
    chosen = own & (holders <= max(FEW, int(fewest)))
    return torch.where(chosen, flip(scene), torch.arange(scene.classes))


def _derangement(classes: int, stream: Stream) -> Tensor:
    """A random cycle through all classes, so that none keeps its number."""
    cycle = torch.randperm(classes, generator=stream.torch())
    order = torch.empty(classes, dtype=torch.int64)
    order[cycle] = cycle.roll(-1)
    return order


def relabel(order: Order) -> Callable[[Dataset, Scene], Dataset]:
    """The `poison` that gives each sample the label of its class in `order`."""

    def poison(data: Dataset, scene: Scene) -> Dataset:
        return Dataset(data.samples, order(scene)[data.labels], data.schema)

    return poison


def renumber_expert(state: State, order: Tensor) -> State:
    """The state of a network that says `order[y]` where it said y; `order` is a permutation (C,)."""
    weight, bias = outputs_at(state, len(order))
    back = order.argsort()
    return with_outputs(state, weight[back], None if bias is None else bias[back])


def renumber(own: Contribution, order: Tensor) -> Contribution:
    """A contribution whose expert, counts and prototypes say `order[y]` in place of y; its generator does not."""
    back = order.argsort()
    return replace(
        own,
        expert=renumber_expert(dict(own.expert), order),
        class_counts=own.class_counts[back],
        field_counts=None if own.field_counts is None else own.field_counts[:, back],
        prototypes=replace(own.prototypes, labels=order[own.prototypes.labels]),
    )


def to_target(data: Dataset, scene: Scene) -> Dataset:
    """Half of all samples get the class that the attackers agreed on as their target."""
    target = int(torch.randint(scene.classes, (), generator=scene.shared.torch()))
    chosen = torch.rand(len(data), generator=scene.stream.torch()) < 0.5
    return Dataset(data.samples, data.labels.masked_fill(chosen, target), data.schema)
