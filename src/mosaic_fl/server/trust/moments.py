"""Class moments that the others' contradict: of another scale, of another place, or of classes in another order.

Each client's mean of a class lies where the others' means of it lie, within 1/n of the variance and the noise that the
client says it added. It is compared with others' centres of all classes, so no majority in one class is needed: who
flips its labels has means where others have another class. The worst client goes first, and all others are measured
anew, so colluders cannot make liars of honest ones. A class that a client holds alone is not held against it.

All is measured in units of the variance within classes, number by number of a vector.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, log
from statistics import median

import torch
from torch import Tensor

from mosaic_fl.server.trust.told import Told

FEWEST = 4  # clients of which some can be told from the others
WITNESSES = 2  # others who must contradict: one against one proves nothing
APART = 4.0  # times the usual distance of clients' means of one class: so far classes lie from each other at least
SCALE = 4.0  # times the usual variance within classes, or its part
SCALE_OF_NONE = 64.0  # times the usual variance: so no class varies, and all share one covariance
FAR = 9.0  # times the usual squared distance of a class from the middle of all
HALF = 0.5  # of the classes that can be compared: more must be misplaced
MEDIAN_NOISE = 1.57  # variance of a median against that of a mean
NOISIEST = 10.0  # times the median's noise: of ε = 1 beside ε = 10 it is 7 times


@dataclass(frozen=True)
class MomentDoubts:
    """By place: `faults`, why a client's moments cannot be used at all; `liars`, why they are not as the others';
    `classes`, single ones of other clients that are contradicted.

    A liar that alone holds a class keeps it: an outlying class of one site is no lie.
    """

    faults: Mapping[int, str] = field(default_factory=dict)
    liars: Mapping[int, str] = field(default_factory=dict)
    classes: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    def of(self, among: Mapping[int, int]) -> "MomentDoubts":
        """The doubts about the clients whose places are keys of `among`, by the places that these are given there."""
        return MomentDoubts(
            {among[k]: reason for k, reason in self.faults.items() if k in among},
            {among[k]: reason for k, reason in self.liars.items() if k in among},
            {among[k]: labels for k, labels in self.classes.items() if k in among},
        )


def moment_doubts(told: Mapping[int, Told], names: Sequence[str]) -> MomentDoubts:
    """What the moments of clients, by place, hold against each other; `names` are those of the classes."""
    active = {k: part for k, part in told.items() if bool((part.counts > 0).any())}
    faults = _hidden(told, active)
    most = len(told) - len(active) + (len(active) - 1) // 2
    liars = dict[int, str]()
    while len(active) >= FEWEST - 1 and len(told) >= FEWEST and (variance := _usual_variance(active)) is not None:
        if not _lie_apart(active, variance):
            return MomentDoubts(faults, liars)
        scaled = _of_another_scale(active, variance)
        worst = scaled or _of_another_place(active, variance) or _reordered(active, variance, names)
        if worst is None or len(told) - len(active) == most:
            return MomentDoubts(faults, liars, _contradicted(active, variance))
        within = active[worst[0]].within
        wild = scaled and within is not None and float((within / variance).median()) > SCALE_OF_NONE
        (faults if wild else liars)[worst[0]] = worst[1]
        del active[worst[0]]
    return MomentDoubts(faults, liars)


def _hidden(told: Mapping[int, Told], active: Mapping[int, Told]) -> dict[int, str]:
    """Whose own noise, of which others have far less, hides all its classes while most clients can be judged."""
    if len(told) < FEWEST - 1 or 2 * len(active) <= len(told):
        return {}
    usual = median(part.noise for part in told.values())
    return {
        k: f"its noise, a standard deviation of {part.noise:.3g} vectors where {usual:.3g} is usual, hides all its "
        "classes: nobody can judge them"
        for k, part in told.items()
        if k not in active and part.noise > NOISIEST * usual
    }


def _lie_apart(active: Mapping[int, Told], variance: Tensor) -> bool:
    """Whether classes lie farther from each other than honest clients' means of one class do, beyond chance.

    A quarter of the means are taken to be honest, and undisturbed by liars.

    Where they do not, clients' samples of a class differ by themselves, and nobody can be told from a liar.
    """
    apart = list[float]()
    within = list[float]()
    for k in active:
        for place in _places(active, k, variance).values():
            apart.append(place.best)
            within.append(max(place.own - place.noise, 0.0))
    return not apart or median(apart) > APART * sorted(within)[len(within) // 4]


def _contradicted(active: Mapping[int, Told], variance: Tensor) -> dict[int, tuple[int, ...]]:
    """Single classes, by place, of which several others say otherwise."""
    cells = dict[int, tuple[int, ...]]()
    for k in active:
        places = _places(active, k, variance)
        wrong = [c for c, place in places.items() if place.is_wrong and len(_holders(active, k, c)) >= WITNESSES]
        if wrong:
            cells[k] = tuple(wrong)
    return cells


def _usual_variance(active: Mapping[int, Told]) -> Tensor | None:
    """The median (d,) of the variances within classes; None where nobody tells one."""
    known = [part.within for part in active.values() if part.within is not None]
    if not known:
        return None
    middle = torch.stack(known).quantile(0.5, dim=0)
    return middle.clamp(min=1e-6 * float(middle.mean()) + 1e-30)


def _of_another_scale(active: Mapping[int, Told], variance: Tensor) -> tuple[int, str] | None:
    ratios = {
        k: float((part.within / variance).clamp(min=1e-12).median())
        for k, part in active.items()
        if part.within is not None
    }
    if len(ratios) < FEWEST - 1:
        return None
    k = max(ratios, key=lambda place: abs(log(ratios[place])))
    if abs(log(ratios[k])) <= log(SCALE):
        return None
    return k, f"its vectors vary {ratios[k]:.2g} times as much within classes as the others'"


def _of_another_place(active: Mapping[int, Told], variance: Tensor) -> tuple[int, str] | None:
    """Whose means of classes are far out: all classes of all clients lie around one middle."""
    rows = {k: part.counts > 0 for k, part in active.items()}
    middle = torch.cat([part.means[rows[k]] for k, part in active.items()]).median(0).values
    scale = float(variance.mean())
    away = dict[int, float]()
    for k, part in active.items():
        squares = ((part.means[rows[k]] - middle).square() / variance).mean(1) - part.errors[rows[k]] / scale
        away[k] = float(squares.median())
    k = max(away, key=lambda place: away[place])
    noise = float((1 / active[k].counts + active[k].errors / scale)[rows[k]].max())
    usual = max(median(away.values()), noise)
    if away[k] <= FAR * usual:
        return None
    return k, f"its classes lie {(away[k] / usual) ** 0.5:.2g} times as far from the middle as the others'"


@dataclass(frozen=True)
class _Place:
    """Where a mean lies: squared distances from the others' mean of its class, and of the class whose is nearest.

    `limit` is the distance beyond which it is wrong whatever is nearest; infinite where fewer than two others hold it.
    """

    own: float
    best: float
    nearest: int
    noise: float
    limit: float

    @property
    def is_wrong(self) -> bool:
        """Whether another class explains it better by far, or it is far from where others agree, beyond chance."""
        return self.own > min(2 * self.best, self.limit) + self.noise


def _reordered(active: Mapping[int, Told], variance: Tensor, names: Sequence[str]) -> tuple[int, str] | None:
    """The client of whose classes most lie where the others have another class."""
    worst = (0, 0.0)
    found: tuple[int, dict[int, _Place]] | None = None
    for k in active:
        places = _places(active, k, variance)
        wrong = {c: place for c, place in places.items() if place.is_wrong}
        witnesses = {j for c in places for j in _holders(active, k, c)}
        if len(wrong) <= HALF * len(places) or len(witnesses) < WITNESSES:
            continue
        badness = (len(wrong), sum(place.own - place.best for place in wrong.values()))
        if badness > worst:
            worst = badness
            found = (k, wrong)
    if found is None:
        return None
    k, wrong = found
    pairs = ", ".join(f"{names[c]!r} lies nearer to their {names[p.nearest]!r}" for c, p in sorted(wrong.items()))
    return k, f"its classes are not the others': {pairs}"


def _holders(active: Mapping[int, Told], k: int, label: int) -> list[int]:
    return [j for j, part in active.items() if j != k and part.counts[label] > 0]


def _places(active: Mapping[int, Told], k: int, variance: Tensor) -> dict[int, _Place]:
    """Where the means of client k lie, of each class that others hold, too."""
    part = active[k]
    centres = {c: _centre(active, h, c, variance) for c in range(len(part.counts)) if (h := _holders(active, k, c))}
    places = {}
    for c in (part.counts > 0).nonzero().flatten().tolist():
        if c not in centres or len(centres) < 2:
            continue
        error = float(1 / part.counts[c] + part.errors[c] / variance.mean())
        away = {e: float(((part.means[c] - m).square() / variance).mean()) - error - n for e, (m, n) in centres.items()}
        nearest = min((e for e in away if e != c), key=lambda e: away[e])
        noise = 2 * error + centres[c][1] + centres[nearest][1]
        limit = _limit(active, k, c, centres, variance)
        places[c] = _Place(away[c], max(away[nearest], 0.0), nearest, noise, limit)
    return places


def _limit(
    active: Mapping[int, Told], k: int, label: int, centres: Mapping[int, tuple[Tensor, float]], variance: Tensor
) -> float:
    """How far from the others' mean of a class a client's may lie: half of what lies between classes, and more where
    the others differ as much.
    """
    holders = _holders(active, k, label)
    if len(holders) < WITNESSES:
        return inf
    centre = centres[label][0]
    between = [float(((m - centre).square() / variance).mean()) for e, (m, _) in centres.items() if e != label]
    spread = max(float(((active[j].means[label] - centre).square() / variance).mean()) for j in holders)
    return max(HALF * median(between), SCALE * spread)


def _centre(active: Mapping[int, Told], holders: Sequence[int], label: int, variance: Tensor) -> tuple[Tensor, float]:
    """(the middle (d,) of the holders' means of a class, the variance of one of its numbers): a median of three and
    more, whatever numbers of samples they claim.
    """
    means = torch.stack([active[j].means[label] for j in holders])
    added = [float(active[j].errors[label]) for j in holders]
    if len(holders) > WITNESSES:  # one with far more noise than the others does not move their median, nor excuse any
        added = [min(error, NOISIEST**2 * median(added)) for error in added]
    errors = [float(1 / active[j].counts[label] + e / variance.mean()) for j, e in zip(holders, added, strict=True)]
    noise = sum(errors) / len(holders) ** 2
    if len(holders) <= WITNESSES:
        return means.mean(0), noise
    return means.quantile(0.5, dim=0), MEDIAN_NOISE * noise
