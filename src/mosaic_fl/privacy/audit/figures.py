"""How well scores tell members from strangers: AUC, rates at few false alarms, risk, and their intervals."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mosaic_fl.errors import UsageError

Scores = npt.NDArray[np.float64]
LEAST = 20  # samples on either side: with fewer an interval says nothing
RESAMPLES = 1000
NORMAL = 1.959964  # two-sided 95 %
ALARMS = 0.1  # false alarms at which the risk is read


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


def require_enough(members: int, strangers: int) -> None:
    """Raise UsageError where an interval would say nothing."""
    if strangers < LEAST:
        raise UsageError(
            f"{strangers} strangers are too few for an interval, which needs {LEAST}: give more, by --holdout FILE"
        )
    if members < LEAST:
        raise UsageError(f"{members} members are too few for an interval, which needs {LEAST}")


def area(members: Scores, strangers: Scores, rng: np.random.Generator) -> Estimate:
    """AUC: the chance that a member's score is above a stranger's, of scores (m,) and (n,); a tie counts a half.

    The interval is the wider, at either end, of two. One is the bootstrap's, of `RESAMPLES` draws of members and of
    strangers. The other is Newcombe's method 5 (Statistics in Medicine 2006, part 2), which has a width where all
    scores are apart, and the bootstrap has none.
    """
    wins = _wins(members, strangers)
    value = float(wins.mean())
    m, n = wins.shape
    of_members = rng.multinomial(m, np.full(m, 1 / m), RESAMPLES).astype(np.float32) / np.float32(m)
    of_strangers = rng.multinomial(n, np.full(n, 1 / n), RESAMPLES).astype(np.float32) / np.float32(n)
    drawn = ((of_members @ wins) * of_strangers).sum(1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    least, most = newcombe(value, m, n)
    return Estimate(value, max(0.0, min(float(low), least)), min(1.0, max(float(high), most)))


def newcombe(value: float, m: int, n: int) -> tuple[float, float]:
    """The 95 % interval of an AUC of `m` and `n` scores: all θ with |value − θ| ≤ 1.96·√V(θ).

    V is the variance of Hanley & McNeil (1982) with N = (m + n)/2 in place of both sizes (Newcombe's method 5).
    """
    return _edge(value, 0.0, m, n), _edge(value, 1.0, m, n)


def _edge(value: float, end: float, m: int, n: int) -> float:
    """The θ between `value` and `end` at which |value − θ| = 1.96·√V(θ), by bisection."""
    inside = value
    outside = end
    for _ in range(60):
        middle = (inside + outside) / 2
        if abs(value - middle) <= NORMAL * math.sqrt(_variance(middle, m, n)):
            inside = middle
        else:
            outside = middle
    return inside


def _variance(theta: float, m: int, n: int) -> float:
    size = (m + n) / 2 - 1
    return theta * (1 - theta) * (1 + size * (1 - theta) / (2 - theta) + size * theta / (1 + theta)) / (m * n)


def caught(members: Scores, strangers: Scores, alarms: float) -> float | None:
    """The share of members above the threshold that a share `alarms` of strangers passes at most.

    None where there are too few strangers to read such a rate: fewer than 1/`alarms`.
    """
    if len(strangers) * alarms < 1 - 1e-9:
        return None
    return float((members > _threshold(strangers, alarms)).mean())


def risk(members: Scores, strangers: Scores) -> Estimate:
    """(attack − control)/(1 − control) of Giomi et al. 2023 (Anonymeter, section 4).

    At the threshold that a tenth of strangers passes, attack is the share of members above it, and control that of
    strangers: the share of members that are caught beyond chance. Errors are those of Wilson, propagated as there.
    """
    threshold = _threshold(strangers, ALARMS)
    attack = float((members > threshold).mean())
    control = float((strangers > threshold).mean())
    value = (attack - control) / (1 - control)
    of_attack = _wilson_error(attack, len(members)) / (1 - control)
    of_control = _wilson_error(control, len(strangers)) * (1 - attack) / (1 - control) ** 2
    error = math.hypot(of_attack, of_control)
    return Estimate(value, max(-1.0, value - error), min(1.0, value + error))


def _wilson_error(rate: float, n: int) -> float:
    """Half the width of Wilson's 95 % interval of a rate of `n`, and at least its farther end."""
    square = NORMAL**2
    centre = (rate + square / (2 * n)) / (1 + square / n)
    half = NORMAL * math.sqrt(rate * (1 - rate) / n + square / (4 * n * n)) / (1 + square / n)
    return half + abs(centre - rate)


def _threshold(strangers: Scores, alarms: float) -> float:
    """The score above which at most a share `alarms` of the strangers lies."""
    above = math.floor(alarms * len(strangers) + 1e-9)
    return float(np.sort(strangers)[::-1][min(above, len(strangers) - 1)])


def _wins(members: Scores, strangers: Scores) -> npt.NDArray[np.float32]:
    """1 where the member's score is above the stranger's, ½ where equal: float32 (m, n)."""
    wins = (members[:, None] > strangers).astype(np.float32)
    wins += np.float32(0.5) * (members[:, None] == strangers)
    return wins
