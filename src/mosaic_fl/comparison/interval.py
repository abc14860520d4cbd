"""The mean of a figure over cells with its 95 % interval, where cells come in data sets and are not independent."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from mosaic_fl.comparison.paired import RESOLUTION

LEVEL = 0.95
LEAST_SETS = 3  # with two sets the quantile is 12.7, and no interval would say anything


@dataclass(frozen=True)
class Estimate:
    """A mean of `count` cells of `sets` data sets, and its interval from `low` to `high` at `LEVEL`.

    The ends are None with one cell, and where the figures do not vary: they would then claim certainty.
    """

    mean: float
    low: float | None
    high: float | None
    count: int
    sets: int

    @property
    def over(self) -> Literal["sets", "cells"]:
        """What the interval takes as independent draws."""
        return "sets" if self.sets >= LEAST_SETS else "cells"


def estimate(
    figures: Sequence[tuple[str, float]], least: float = -math.inf, greatest: float = math.inf
) -> Estimate | None:
    """The mean of (data set, figure) of cells; None without cells. The interval is cut to `least` … `greatest`.

    Cells of one set have its images in common. From `LEAST_SETS` sets on, the interval is Student's t with G − 1
    degrees of freedom and the cluster-robust variance of a mean, G / (G − 1) · Σ_g (Σ_{i in g} (x_i − mean))² / n²,
    where G is the number of sets and n that of cells (Cameron, Miller 2015, "A Practitioner's Guide to Cluster-Robust
    Inference", J. Human Resources 50). With as many cells in each set it is the t interval of the sets' means.
    A bootstrap over sets is no choice here: with few clusters it is too narrow (Cameron, Gelbach, Miller 2008, Rev.
    Econ. Stat. 90).

    With fewer sets each cell counts as a draw: the usual t interval with n − 1 degrees of freedom, which says nothing
    of other sets. Nothing here is random.
    """
    from scipy.special import stdtrit  # quantiles of Student's t

    if not figures:
        return None
    values = [value for _, value in figures]
    mean = fmean(values)
    deviations = dict[str, float]()
    for name, value in figures:
        deviations[name] = deviations.get(name, 0.0) + value - mean
    sets = len(deviations)
    sums = list(deviations.values()) if sets >= LEAST_SETS else [value - mean for value in values]
    draws = len(sums)
    error = math.sqrt(draws / (draws - 1) * math.fsum(part**2 for part in sums)) / len(values) if draws > 1 else 0.0
    if error < RESOLUTION:
        return Estimate(mean, None, None, len(values), sets)
    half = float(stdtrit(draws - 1, (1 + LEVEL) / 2)) * error
    return Estimate(mean, max(least, mean - half), min(greatest, mean + half), len(values), sets)
