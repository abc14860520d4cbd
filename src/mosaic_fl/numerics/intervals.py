"""How far a share of few samples, or the difference of two such shares, may lie from the truth."""

from math import sqrt

Z = 1.959964  # of a normal distribution: 95 % lie within


def wilson(share: float, samples: int) -> tuple[float, float]:
    """The 95 % interval of a share in 0..1 of `samples` samples (Wilson 1927); (0, 1) without samples."""
    if not samples:
        return 0.0, 1.0
    spread = Z * Z / samples
    centre = (share + spread / 2) / (1 + spread)
    reach = Z / (1 + spread) * sqrt(share * (1 - share) / samples + spread / (4 * samples))
    return max(0.0, centre - reach), min(1.0, centre + reach)


def paired_difference(more: int, fewer: int, samples: int) -> tuple[float, float]:
    """The 95 % interval, in −1..1, of the difference of two shares of the same `samples` samples.

    `more` samples count for the first share alone, `fewer` for the second alone. Half a sample is added to each of the
    four kinds, so that an interval of few samples is not too narrow (Agresti, Min 2005, Statistics in Medicine 24).
    """
    total = samples + 2
    mean = (more - fewer) / total
    reach = Z * sqrt(max(0.0, (more + fewer + 1) / total - mean * mean) / total)
    return max(-1.0, mean - reach), min(1.0, mean + reach)
