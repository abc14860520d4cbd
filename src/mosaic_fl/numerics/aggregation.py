"""Rules that merge clients' model states into one, of which a few liars among the clients move the result little.

- `median`, `trimmed`: of each coordinate (Yin, Chen, Ramchandran, Bartlett 2018, arXiv 1803.01498).
- `krum`: Multi-Krum (Blanchard, El Mhamdi, Guerraoui, Stainer 2017, arXiv 1703.02757).
- `geometric_median`: by the smoothed Weiszfeld algorithm (Pillutla, Kakade, Harchaoui 2022, arXiv 1912.13445).
- `mixed`, before any of these: each state becomes the mean of its nearest neighbours (Allouah, Farhadkhani, Guerraoui,
  Gupta, Pinot, Stephan 2023, arXiv 2302.01772), since clients whose data differ have states that differ.

A client's number of samples is its own word. So `median` and `trimmed` count each client once, and the other rules
believe at most `BELIEF` times the median number. What is merged is a function of what clients sent and of nothing else:
under differential privacy it is post-processing.

States have equal names and shapes. Sums are in double precision. Of whole numbers, as counters of batches, each rule
takes the lower median.
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import median as middle

import torch
from torch import Tensor

from mosaic_fl.numerics.states import State, weighted_sum

BELIEF = 2.0  # times the median number of samples: what a client can claim
ITERATIONS = 100  # of Weiszfeld at most; near 10 are enough where fewer than half lie
SMOOTHING = 1e-3  # of the median distance from the start, at last
CLOSE = 1e-4  # of that distance: a shorter step of Weiszfeld is its last


def aggregate(rule: str, states: Sequence[State], samples: Sequence[int], liars: int, *, mix: bool = False) -> State:
    """One state of `states`, of which `liars` may be anything; `samples` are the numbers that the clients claim.

    `mix` makes each state the mean of its nearest neighbours first. `config.aggregation.fewest` says how many states
    a rule needs.
    """
    if mix:
        states = mixed(states, liars)
        samples = [1] * len(states)
    return RULES[rule](states, samples, liars)


def median(states: Sequence[State], samples: Sequence[int], liars: int) -> State:
    """The median of each coordinate; of an even number of states the mean of the middle two."""
    return trimmed(states, samples, (len(states) - 1) // 2)


def trimmed(states: Sequence[State], samples: Sequence[int], liars: int) -> State:
    """The mean of each coordinate without its `liars` largest and smallest values."""

    def inner(tensors: Tensor) -> Tensor:
        return tensors.sort(0).values[liars : len(states) - liars].mean(0)

    return {name: _merged([state[name] for state in states], inner) for name in states[0]}


def krum(states: Sequence[State], samples: Sequence[int], liars: int) -> State:
    """The mean by samples of the n − f states (f = `liars`) whose n − f − 2 nearest neighbours are nearest."""
    chosen = nearest_to_others(states, liars)
    believed = _believed([samples[k] for k in chosen])
    return _weighted([states[k] for k in chosen], believed)


def nearest_to_others(states: Sequence[State], liars: int) -> list[int]:
    """The positions that Multi-Krum keeps, in increasing order; n − f of them."""
    squares = squared_distances(states)
    neighbours = len(states) - liars - 2
    scores = squares.sort(1).values[:, 1 : neighbours + 1].sum(1)  # the nearest is the state itself
    return sorted(scores.argsort(stable=True)[: len(states) - liars].tolist())


def geometric_median(states: Sequence[State], samples: Sequence[int], liars: int) -> State:
    """The state whose sum of distances to `states` is the least, weighted by the samples that are believed."""
    return _weighted(states, geometric_weights(states, _believed(samples)))


def geometric_weights(states: Sequence[State], weights: Sequence[float]) -> list[float]:
    """The weights, of sum one, by which the weighted geometric median of `states` is their mean.

    Weiszfeld from the median of each coordinate, which no minority moves far. At a distance d a state has a pull of
    its weight / max(d, ν). The smoothing ν falls to a small part of the median distance: small at once, it would hold
    a start that is one of the states.
    """
    centre = median(states, (), 0)
    distances = [_square(state, centre) ** 0.5 for state in states]
    scale = middle(distances)
    if not scale:  # more than half of them are this state
        pulls = [weight * (distance == 0) for weight, distance in zip(weights, distances, strict=True)]
        return [pull / sum(pulls) for pull in pulls]
    for turn in range(ITERATIONS):
        smoothing = scale * max(SMOOTHING, 0.25**turn)
        pulls = [weight / max(distance, smoothing) for weight, distance in zip(weights, distances, strict=True)]
        moved = _weighted(states, pulls)
        step = _square(moved, centre) ** 0.5
        centre = moved
        if step <= CLOSE * scale and smoothing == scale * SMOOTHING:
            break
        distances = [_square(state, centre) ** 0.5 for state in states]
    return [pull / sum(pulls) for pull in pulls]


def mixed(states: Sequence[State], liars: int) -> list[State]:
    """Each state's mean with its nearest neighbours, n − `liars` of them with itself."""
    near = squared_distances(states).argsort(dim=1, stable=True)[:, : len(states) - liars].tolist()
    share = 1 / (len(states) - liars)
    return [weighted_sum([states[k] for k in ks], [share] * len(ks)) for ks in near]


def squared_distances(states: Sequence[State]) -> Tensor:
    """float64 (n, n): the squares of the distances between the states, all floating entries together."""
    squares = torch.zeros(len(states), len(states), dtype=torch.float64)
    for i, one in enumerate(states):
        for j in range(i):
            squares[i, j] = squares[j, i] = _square(one, states[j])
    return squares


def _square(one: State, other: State) -> float:
    return sum(
        float((tensor.double() - other[name].double()).square().sum())
        for name, tensor in one.items()
        if tensor.is_floating_point()
    )


def _believed(samples: Sequence[int]) -> list[float]:
    """The clients' samples, each at most `BELIEF` times the median, and one at least."""
    most = max(1.0, BELIEF * middle(samples))
    return [min(max(1.0, count), most) for count in samples]


def _weighted(states: Sequence[State], weights: Sequence[float]) -> State:
    """The mean by `weights`; of whole numbers the lower median."""
    total = sum(weights)
    mean = weighted_sum(states, [weight / total for weight in weights])
    counters = {name: [s[name] for s in states] for name, tensor in mean.items() if not tensor.is_floating_point()}
    return mean | {name: torch.stack(tensors).median(0).values for name, tensors in counters.items()}


def _merged(tensors: list[Tensor], merge: Callable[[Tensor], Tensor]) -> Tensor:
    stacked = torch.stack(tensors)
    if not stacked.is_floating_point():
        return stacked.median(0).values  # of an even number torch gives the lower one
    return merge(stacked.double()).to(stacked.dtype)


RULES: Mapping[str, Callable[[Sequence[State], Sequence[int], int], State]] = {
    "median": median,
    "trimmed": trimmed,
    "krum": krum,
    "geometric_median": geometric_median,
}
