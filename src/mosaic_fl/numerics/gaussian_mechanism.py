"""The Gaussian mechanism: the least noise for (ε, δ)-differential privacy, and noise from the system's secure source.

The condition is exact: theorem 8 of Balle and Wang, "Improving the Gaussian Mechanism for Differential Privacy:
Analytical Calibration and Optimal Denoising" (ICML 2018). Google's `dp-accounting` has the same numbers, which a test
holds; it is not used here, because it asks for versions of `attrs` of 2023.
"""

import math
import secrets
from collections.abc import Callable

import torch
from torch import Tensor

Bytes = Callable[[int], bytes]
"""That many random bytes."""

BITS = 53  # of a uniform number
HALVINGS = 200
LARGEST_EPSILON = 700.0  # e^709 is the largest floating-point number


def delta_of(epsilon: float, multiplier: float) -> float:
    """The least δ of one release with noise of the standard deviation `multiplier` times the sensitivity.

    δ = Φ(1/2σ − εσ) − e^ε Φ(−1/2σ − εσ).
    """
    near = _normal(0.5 / multiplier - epsilon * multiplier)
    far = _normal(-0.5 / multiplier - epsilon * multiplier)
    return near - math.exp(epsilon) * far


def noise_multiplier(epsilon: float, delta: float) -> float:
    """The least standard deviation of the noise, in units of the sensitivity, for (ε, δ), both > 0; ε ≤ 100.

    It is found by halving an interval, and the upper end is taken, so it is never too small.
    """
    low = 0.0
    high = 1.0
    while delta_of(epsilon, high) > delta:
        low = high
        high *= 2
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if delta_of(epsilon, middle) > delta:
            low = middle
        else:
            high = middle
    return high


def epsilon_of(delta: float, multiplier: float) -> float:
    """The least ε of one release with such noise, for δ > 0: the inverse of `delta_of`, never too small.

    Infinite where it is above `LARGEST_EPSILON`.
    """
    if delta_of(0.0, multiplier) <= delta:
        return 0.0
    low = 0.0
    high = 1.0
    while delta_of(high, multiplier) > delta:
        if high >= LARGEST_EPSILON:
            return math.inf
        low = high
        high = min(2 * high, LARGEST_EPSILON)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if delta_of(middle, multiplier) > delta:
            low = middle
        else:
            high = middle
    return high


def secure_normal(count: int, source: Bytes = secrets.token_bytes) -> Tensor:
    """`count` standard normal numbers, float64, each of 107 bits of the system's secure source.

    A sign, and the inverse of the distribution at a uniform number: no generator has a state that could be found out.
    With one word for it, numbers beyond 6 would lie so far apart that few whole numbers of a noisy sum could occur, and
    those that did would tell of the sum (Mironov 2012). `source` is another one in tests alone.
    """
    content = bytearray(source(16 * count))
    words = torch.frombuffer(content, dtype=torch.int64).view(count, 2) if count else torch.zeros(0, 2).long()
    coarse, fine = (words >> 1 & 2**BITS - 1).double().unbind(1)
    uniform = (coarse + (fine + 0.5) * 2.0**-BITS) * 2.0 ** -(BITS + 1)  # in 0..½
    sign = 1 - 2 * (words[:, 0] & 1).double()
    drawn: Tensor = sign * torch.special.ndtri(uniform)
    return drawn


def _normal(value: float) -> float:
    """Φ, the distribution function of the standard normal, accurate in the lower tail."""
    return math.erfc(-value / math.sqrt(2)) / 2
