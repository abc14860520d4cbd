"""The opened generator: how well it can be made to draw a sample (Chen et al. 2020, white box; Hilprecht et al. 2019).

What is hard to draw for any generator is calibrated by the distance to a real sample, or by what the search has gained.
"""

from torch import Tensor

from mosaic_fl.privacy.audit.attacks.nearest import NO_GENERATOR, TINY
from mosaic_fl.privacy.audit.case import Case, Pair


def reconstruction(case: Case) -> Pair | str:
    """Minus the logarithm of the least squared error, as a share of d² to the nearest other real sample."""
    return _scores(case, case.nearest_real) if case.generator is not None else NO_GENERATOR


def reconstruction_gain(case: Case) -> Pair | str:
    """The same as a share of d² to the nearest synthetic sample, from which the search starts."""
    return _scores(case, case.nearest.first) if case.generator is not None else NO_GENERATOR


def _scores(case: Case, distances: Tensor) -> Pair | str:
    search = case.search
    if isinstance(search, str):
        return search
    scores = distances[search.places].square().clamp(min=TINY**2).log() - search.errors.clamp(min=TINY**2).log()
    are_members = search.places < len(case.members)
    return scores[are_members], scores[~are_members]
