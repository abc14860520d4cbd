"""Weights that are those of another client: one model counts once, however many clients send it (Sybils)."""

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from math import inf, sqrt

import torch
from torch import Tensor

from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.experts.no_model import has_model
from mosaic_fl.numerics.states import State

COPY = 1e-3  # relative distance of two models' weights below which one is a copy
BLOCK = 256  # places whose distances from all others exist at once
SLACK = 1e-9  # of a glance's own square, by which the rounding of a product may hide a distance
GLANCE = 256  # weights of each tensor that a first look compares: most pairs differ there


def distance(first: State, second: State) -> float:
    """‖first − second‖ / ‖first‖ over all weights; infinite where names or shapes differ, and without any weight.

    Whole numbers, as the bytes of an ONNX model, must be equal.
    """
    names = first.keys()
    if not names or names != second.keys() or any(first[n].shape != second[n].shape for n in names):
        return inf
    weights = [n for n in names if first[n].is_floating_point() and second[n].is_floating_point()]
    if not weights:
        return 0.0 if all(torch.equal(first[n], second[n]) for n in names) else inf
    gap = sum(float((first[n].double() - second[n].double()).square().sum()) for n in weights)
    size = sum(float(first[n].double().square().sum()) for n in weights)
    return sqrt(gap / size) if size else (inf if gap else 0.0)


def copied_parts(contributions: Sequence[Contribution]) -> Iterator[tuple[int, int, list[str]]]:
    """Pairs of places in `contributions`, in order, whose "model" or "generator" is the same, and which of the two.

    Two files of one client are no copies: the numbers tell that.
    """
    for i, j in _near(contributions):
        if same := _copied(contributions[i], contributions[j]):
            yield i, j, same


def sharers(contributions: Sequence[Contribution]) -> list[int]:
    """How many contributions share each one's model, or its generator where these are more, itself among them.

    It is 1 where a contribution is nobody's copy. Who shares a part with a third one shares it: of n copies n pairs are
    compared. The parts are counted apart: who sends one client's model and another's generator makes the two no copies
    of each other.
    """
    models, generators = _Groups(len(contributions)), _Groups(len(contributions))
    for i, j in _near(contributions):
        if models.apart(i, j) or generators.apart(i, j):
            same = _copied(contributions[i], contributions[j])
            for part, groups in (("model", models), ("generator", generators)):
                if part in same:
                    groups.join(i, j)
    return [max(sizes) for sizes in zip(models.sizes(), generators.sizes(), strict=True)]


class _Groups:
    """Places that belong together, each alone at first."""

    def __init__(self, count: int) -> None:
        self.parents = list(range(count))

    def root(self, place: int) -> int:
        """The place that stands for the group of `place`."""
        while self.parents[place] != place:
            self.parents[place] = self.parents[self.parents[place]]
            place = self.parents[place]
        return place

    def apart(self, i: int, j: int) -> bool:
        """Whether two places are in two groups."""
        return self.root(i) != self.root(j)

    def join(self, i: int, j: int) -> None:
        """Make one group of two."""
        self.parents[self.root(j)] = self.root(i)

    def sizes(self) -> list[int]:
        """How many are in the group of each place."""
        roots = [self.root(place) for place in range(len(self.parents))]
        members = Counter(roots)
        return [members[root] for root in roots]


def _copied(first: Contribution, second: Contribution) -> list[str]:
    """Which of "model" and "generator" two clients share."""
    if first.client == second.client:
        return []
    models = first.architecture == second.architecture and has_model(first.architecture)
    models = models and not (_says_one_class(first) and _says_one_class(second))
    generators = first.generator_spec is not None and first.generator_spec == second.generator_spec
    # Both parts of one, then both of the other: each may have to be read from its file.
    own = dict(first.expert), dict(first.generator or {})
    other = dict(second.expert), dict(second.generator or {})
    parts = {
        "model": models and _is_copy(own[0], other[0]),
        "generator": generators and _is_copy(own[1], other[1]),
    }
    return [name for name, copied in parts.items() if copied]


def _says_one_class(contribution: Contribution) -> bool:
    """Whether its model is whole numbers, as ONNX, and its client has one class: honest ones' are the same bytes."""
    weights = any(tensor.is_floating_point() for tensor in contribution.expert.values())
    return not weights and int((contribution.class_counts > 0).sum()) == 1


@dataclass(frozen=True)
class Glance:
    """A first look at the weights of a `kind`: the `beginnings` of tensors, double, that are no whole numbers.

    `square` is the sum of the squares of all weights that are none.
    """

    kind: Hashable
    beginnings: dict[str, Tensor]
    square: float

    @classmethod
    def at(cls, kind: Hashable, state: State) -> "Glance":
        """The glance at a state; its shapes are part of its kind."""
        shapes = tuple((name, tuple(tensor.shape)) for name, tensor in sorted(state.items()))
        weights = {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}
        beginnings = {name: tensor.flatten()[:GLANCE].double() for name, tensor in weights.items()}
        square = sum(float(tensor.double().square().sum()) for tensor in weights.values())
        return cls((kind, shapes) if shapes else None, beginnings, square)


def _near(contributions: Sequence[Contribution]) -> list[tuple[int, int]]:
    """Pairs of places, in order, whose models or generators are alike at a glance: all copies are among them."""
    models = list[Glance]()
    generators = list[Glance]()
    for c in contributions:
        models.append(Glance.at(c.architecture, dict(c.expert)))
        generators.append(Glance.at(c.generator_spec, dict(c.generator or {})))
    return sorted({*_alike(models), *_alike(generators)})


def _alike(glances: Sequence[Glance]) -> Iterator[tuple[int, int]]:
    """Pairs of places whose glances are of one kind and near each other.

    They are compared by weights that are no whole numbers at any of them, so glances of copies are no farther apart
    than the states. The distances are one product of matrices a block of places.
    """
    kinds = dict[Hashable, list[int]]()
    for place, glance in enumerate(glances):
        if glance.kind is not None:
            kinds.setdefault(glance.kind, []).append(place)
    for places in kinds.values():
        members = [glances[place] for place in places]
        names = [name for name in sorted(members[0].beginnings) if all(name in m.beginnings for m in members)]
        rows = torch.stack([_row(member, names) for member in members])
        squares = rows.square().sum(1)
        limits = (1 + SLACK) * COPY**2 * torch.tensor([m.square for m in members], dtype=torch.float64)
        for start in range(0, len(places), BLOCK):
            block = slice(start, start + BLOCK)
            gaps = squares[block, None] + squares - 2 * rows[block] @ rows.T
            alike = gaps <= limits[block, None] + SLACK * squares[block, None]
            for row, column in alike.nonzero().tolist():
                if start + row < column:
                    yield places[start + row], places[column]


def _row(glance: Glance, names: Sequence[str]) -> Tensor:
    parts = [glance.beginnings[name] for name in names]
    return torch.cat(parts) if parts else torch.zeros(1, dtype=torch.float64)


def _is_copy(first: State, second: State) -> bool:
    """Whether two states are the same; not where they are all zeros, as moments of no class."""
    if not any(bool(tensor.any()) for tensor in first.values()):
        return False
    glances = [{n: t.flatten()[:GLANCE] for n, t in state.items()} for state in (first, second)]
    return distance(*glances) < 1 and distance(first, second) < COPY
