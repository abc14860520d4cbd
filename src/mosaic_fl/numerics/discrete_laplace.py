"""Exact discrete Laplace noise from a cryptographically secure source, for counts under differential privacy.

The algorithms are 1 and 2 of Canonne, Kamath and Steinke, "The Discrete Gaussian for Differential Privacy" (NeurIPS
2020). They use whole numbers alone, so no rounding of floating-point numbers tells of the true count (Mironov 2012).
"""

import secrets
from collections.abc import Callable
from fractions import Fraction

Below = Callable[[int], int]
"""A uniform whole number in 0..n−1."""


def discrete_laplace(scale: Fraction, below: Below = secrets.randbelow) -> int:
    """A draw X of which P(X = k) is proportional to exp(−|k| / scale), `scale` > 0.

    A count that one row changes by one is ε-differentially private with noise of the scale 1/ε. `below` is another
    source in tests alone.
    """
    t = scale.numerator
    s = scale.denominator
    while True:
        part = below(t)
        if not _bernoulli_exp(Fraction(part, t), below):
            continue
        wholes = 0
        while _bernoulli_exp(Fraction(1), below):
            wholes += 1
        size = (part + t * wholes) // s
        negative = below(2) == 1
        if not (negative and size == 0):
            return -size if negative else size


def _bernoulli_exp(gamma: Fraction, below: Below) -> bool:
    """True with the probability exp(−gamma), 0 ≤ gamma ≤ 1."""
    k = 1
    while below(gamma.denominator * k) < gamma.numerator:
        k += 1
    return k % 2 == 1
