"""Weights that are those of another client: one model counts once, however many clients send it (Sybils)."""

from collections.abc import Callable, Hashable, Iterator, Sequence
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
    near = sorted({*_near(contributions, _model), *_near(contributions, _generator)})
    for i, j in near:
        first = contributions[i]
        second = contributions[j]
        if first.client == second.client:
            continue
        models = first.architecture == second.architecture and has_model(first.architecture)
        generators = first.generator_spec is not None and first.generator_spec == second.generator_spec
        parts = {
            "model": models and _is_copy(first.expert, second.expert),
            "generator": generators and _is_copy(first.generator or {}, second.generator or {}),
        }
        if same := [name for name, copied in parts.items() if copied]:
            yield i, j, same


def _model(contribution: Contribution) -> tuple[Hashable, State]:
    return contribution.architecture, contribution.expert


def _generator(contribution: Contribution) -> tuple[Hashable, State]:
    return contribution.generator_spec, contribution.generator or {}


def _near(
    contributions: Sequence[Contribution], part: Callable[[Contribution], tuple[Hashable, State]]
) -> Iterator[tuple[int, int]]:
    """Pairs of places whose parts are of one kind, and alike at a glance: all copies are among them.

    A glance is at the weights that are no whole numbers at any of them, so glances of copies are no farther apart than
    the states. The distances are one product of matrices a block of places.
    """
    kinds = dict[Hashable, list[tuple[int, State]]]()
    for place, contribution in enumerate(contributions):
        kind, state = part(contribution)
        shapes = tuple((name, tuple(tensor.shape)) for name, tensor in sorted(state.items()))
        if shapes:
            kinds.setdefault((kind, shapes), []).append((place, state))
    for members in kinds.values():
        places = [place for place, _ in members]
        states = [state for _, state in members]
        names = [name for name in sorted(states[0]) if all(state[name].is_floating_point() for state in states)]
        glances = torch.stack([_glance(state, names) for state in states])
        squares = glances.square().sum(1)
        limits = (1 + SLACK) * COPY**2 * torch.tensor([_square(state) for state in states], dtype=torch.float64)
        for start in range(0, len(places), BLOCK):
            rows = slice(start, start + BLOCK)
            gaps = squares[rows, None] + squares - 2 * glances[rows] @ glances.T
            alike = gaps <= limits[rows, None] + SLACK * squares[rows, None]
            for row, column in alike.nonzero().tolist():
                if start + row < column:
                    yield places[start + row], places[column]


def _glance(state: State, names: Sequence[str]) -> Tensor:
    """The first weights of each of these tensors, double (n,)."""
    parts = [state[name].flatten()[:GLANCE].double() for name in names]
    return torch.cat(parts) if parts else torch.zeros(1, dtype=torch.float64)


def _square(state: State) -> float:
    """The sum of the squares of all weights that are no whole numbers."""
    return sum(float(t.double().square().sum()) for t in state.values() if t.is_floating_point())


def sharers(contributions: Sequence[Contribution]) -> list[int]:
    """How many contributions share each one's model or generator, itself among them: 1 where it is nobody's copy."""
    groups = list(range(len(contributions)))
    for i, j, _ in copied_parts(contributions):
        low = min(groups[i], groups[j])
        high = max(groups[i], groups[j])
        groups = [low if group == high else group for group in groups]
    return [groups.count(group) for group in groups]


def _is_copy(first: State, second: State) -> bool:
    """Whether two states are the same; not where they are all zeros, as moments of no class."""
    if not any(bool(tensor.any()) for tensor in first.values()):
        return False
    glances = [{n: t.flatten()[:GLANCE] for n, t in state.items()} for state in (first, second)]
    return distance(*glances) < 1 and distance(first, second) < COPY
