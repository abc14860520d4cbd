"""Distances to the nearest synthetic sample: a generator that remembers draws near its own samples.

The plain distance, and two measures of it: the distance to the nearest real sample, and to the second synthetic one.
The ratio of two neighbours is that of Lowe (2004), which Anonymeter and others use for synthetic data.
"""

from mosaic_fl.privacy.audit.case import Case, Pair

TINY = 1e-6  # a distance that is none, beside the 1 or so of two samples
NO_GENERATOR = "it sends no generator"


def nearest(case: Case) -> Pair | str:
    """Minus the distance to the nearest synthetic sample."""
    if case.generator is None:
        return NO_GENERATOR
    return case.parted(-case.nearest.first)


def nearest_ratio(case: Case) -> Pair | str:
    """Minus that distance, as a share of the distance to the nearest other real sample."""
    if case.generator is None:
        return NO_GENERATOR
    return case.parted(-case.nearest.first / case.nearest_real.clamp(min=TINY))


def second_nearest(case: Case) -> Pair | str:
    """Minus that distance, as a share of the distance to the second nearest synthetic sample."""
    if case.generator is None:
        return NO_GENERATOR
    return case.parted(-case.nearest.first / case.nearest.second.clamp(min=TINY))
