"""Paired differences of two methods over seeds: a t test, and Holm's correction for all comparisons of a table."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

LEVEL = 0.05  # a difference is beyond noise where its p is lower
RESOLUTION = 1e-9  # points: smaller differences are rounding errors. One image of 10⁸ is 10⁻⁶.


@dataclass(frozen=True)
class Paired:
    """Differences of two methods on the same seeds: mean, standard deviation (None with one seed), p of a t test.

    `p` is of this comparison alone; `p_holm` is corrected for all comparisons of its table. Both are None with one
    seed. They are also None where all differences are equal: without a spread the test would call any difference
    significant.
    """

    mean: float
    std: float | None
    p: float | None
    p_holm: float | None

    @property
    def verdict(self) -> str:
        """Whether chance may explain the difference, in words."""
        if self.p is None or self.p_holm is None:
            return "one seed: cannot say" if self.std is None else "no spread: cannot say"
        side = "better" if self.mean > 0 else "worse"
        if self.p >= LEVEL:
            return "within noise"
        return side if self.p_holm < LEVEL else f"{side} alone, not after Holm"


def paired(ours: Sequence[float | None], theirs: Sequence[float | None]) -> Paired | None:
    """ours − theirs over the seeds that have both, with a two-sided paired t test; None where no seed has both.

    `p_holm` is not corrected yet: it equals `p`.
    """
    from scipy.special import stdtr  # Student's t distribution

    differences = [a - b for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]
    if not differences:
        return None
    mean = fmean(differences)
    n = len(differences)
    if n == 1:
        return Paired(mean, None, None, None)
    std = stdev(differences)
    if std < RESOLUTION:
        p = 1.0 if abs(mean) < RESOLUTION else None
        return Paired(mean, 0.0, p, p)
    p = float(2 * stdtr(n - 1, -abs(mean) / (std / math.sqrt(n))))
    return Paired(mean, std, p, p)


def holm(p: Sequence[float]) -> list[float]:
    """m p values, each corrected for all m: the r-th smallest becomes (m − r + 1)·p, at most 1, and never decreases.

    Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    corrected = list(p)
    maximum = 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=lambda index: p[index])):
        maximum = max(maximum, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = maximum
    return corrected


def correct(differences: Mapping[str, Paired | None]) -> dict[str, Paired | None]:
    """The differences of one table, by method, with `p_holm` corrected for all of them."""
    tests = [(method, pair, pair.p) for method, pair in differences.items() if pair and pair.p is not None]
    p_holm = holm([p for _, _, p in tests])
    return {
        **differences,
        **{method: replace(pair, p_holm=p) for (method, pair, _), p in zip(tests, p_holm, strict=True)},
    }
