"""What experts can do beside giving log-probabilities. The cards of methods use it, so it imports no torch."""

from enum import StrEnum


class Capability(StrEnum):
    """What an expert may offer beside log-probabilities. The value is its name in messages."""

    WEIGHTS = "weights that can be averaged and trained on"
    FEATURES = "penultimate features"
    GRADIENTS = "gradients with respect to samples"
