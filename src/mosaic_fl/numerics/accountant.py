"""One accountant over all noisy releases of a contribution: the (ε, δ) that they have together, and noise for a target.

A release adds Gaussian noise to a sum in which a sample weighs 1 at most, `steps` times, each time of a random sample
of the data (Poisson sampling). Opacus composes them, by privacy loss random variables (Gopi, Lee & Wutschitz, NeurIPS
2021) or, where these cannot be computed, by Rényi divergences (Mironov, Talwar & Zhang 2019). Both are upper bounds.
"""

import logging
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mosaic_fl.errors import UsageError
from mosaic_fl.extras import require
from mosaic_fl.numerics.gaussian_mechanism import noise_multiplier

WORK = "differential privacy of networks"
RELATIVE_ERROR = 0.01  # of ε, which the bound is above the truth at most, and by which a target may be missed
LEAST_ERROR = 1e-3  # of ε: a finer grid takes minutes
LEAST_EPSILON = 0.01
TRIES = 24
MOST_NOISE = 1e6


@dataclass(frozen=True)
class Release:
    """Gaussian noise of the standard deviation `noise`, in units of a sample's largest weight, `steps` times.

    Each step takes every sample with the probability `rate`.
    """

    noise: float
    rate: float = 1.0
    steps: int = 1


@dataclass(frozen=True)
class Wish:
    """A release to be: its share of the budget (all shares sum to 1), the rate of its sampling, and its steps."""

    share: float
    rate: float = 1.0
    steps: int = 1

    def release(self, multiplier: float) -> Release:
        """The release that has this share, where one Gaussian with noise of `multiplier` would have the whole budget.

        By the central limit theorem of Bu, Dong, Long & Su (Harvard Data Science Review 2020) a release is as one
        Gaussian of the multiplier 1/μ, μ = rate · √(steps · (e^(1/noise²) − 1)). The accountant corrects what it errs.
        """
        budget = self.share / multiplier**2
        if self.rate == 1:
            return Release(math.sqrt(self.steps / budget))
        return Release(1 / math.sqrt(math.log1p(budget / (self.rate**2 * self.steps))), self.rate, self.steps)


def epsilon_of(releases: Sequence[Release], delta: float) -> float:
    """The least ε that the accountant proves for all `releases` together; inf where a noise is 0.

    Raises UsageError where Opacus is not installed.
    """
    require(WORK, "opacus")
    if any(release.noise <= 0 for release in releases):
        return math.inf
    history = [(release.noise, release.rate, release.steps) for release in releases]
    logging.getLogger("opacus").setLevel(logging.ERROR)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of orders at the end of their range, which cost tightness alone
        from opacus.accountants import PRVAccountant, RDPAccountant

        by_divergence = RDPAccountant()
        by_divergence.history = list(history)
        bound = float(by_divergence.get_epsilon(delta))
        by_loss = PRVAccountant()
        by_loss.history = list(history)
        try:
            tight = float(by_loss.get_epsilon(delta, eps_error=max(LEAST_ERROR, RELATIVE_ERROR * bound)))
        except (RuntimeError, ValueError, OverflowError, MemoryError):  # of numbers that are too small for its grid
            return bound
    return min(bound, tight) if math.isfinite(tight) and tight > 0 else bound


@lru_cache(maxsize=64)
def calibrate(wishes: tuple[Wish, ...], epsilon: float, delta: float) -> tuple[float, tuple[Release, ...]]:
    """(multiplier, releases): noise for all `wishes`, by their shares, with which together they have (ε, δ).

    The multiplier is that of one Gaussian in place of all: see `Wish.release`. Raises UsageError where no noise within
    reach is enough, and where Opacus is not installed.
    """
    if epsilon < LEAST_EPSILON:
        raise UsageError(f"privacy.epsilon = {epsilon:g}: networks need {LEAST_EPSILON:g} at least")
    multiplier = noise_multiplier(epsilon, delta)
    best = math.inf
    for _ in range(TRIES):
        reached = epsilon_of([wish.release(multiplier) for wish in wishes], delta)
        if reached <= epsilon:
            best = min(best, multiplier)
            if reached >= (1 - RELATIVE_ERROR) * epsilon:
                break
            multiplier *= max(0.7, (reached / epsilon) ** 0.7)
        elif best < math.inf and multiplier >= best * (1 - RELATIVE_ERROR / 2):
            break
        else:
            # A little more than needed, so that the next one is on the safe side.
            multiplier = min(multiplier * min(3.0, (reached / epsilon) ** 0.8 * 1.002), best * (1 - RELATIVE_ERROR / 4))
    if best == math.inf or best > MOST_NOISE:
        raise UsageError(
            f"no noise within reach gives ε = {epsilon:g}, δ = {delta:g} over "
            f"{sum(wish.steps for wish in wishes):,} steps: raise privacy.epsilon, or lower train.epochs and "
            "generator.steps"
        )
    return best, tuple(wish.release(best) for wish in wishes)
