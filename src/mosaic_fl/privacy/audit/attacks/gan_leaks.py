"""GAN-Leaks (Chen, Yu, Zhang & Fritz 2020, section 4): a black box's nearest sample, calibrated."""

from mosaic_fl.privacy.audit.attacks.nearest import NO_GENERATOR
from mosaic_fl.privacy.audit.case import Case, Pair


def gan_leaks(case: Case) -> Pair | str:
    """d²(x, reference) − d²(x, synthetic), both to the nearest.

    The reference is all other real samples, as of an attacker who knows all but one: members and strangers are
    calibrated alike, and a rare sample is not taken for a stranger.
    """
    if case.generator is None:
        return NO_GENERATOR
    return case.parted(case.nearest_real.square() - case.nearest.first.square())
