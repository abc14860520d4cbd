"""How far a share of few samples may lie from the truth."""

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
