"""What experts can do beside giving log-probabilities; read without torch, as the cards of methods are."""

from enum import StrEnum


class Capability(StrEnum):
    """What an expert may offer beside log-probabilities; the value is what messages call it."""

    WEIGHTS = "weights that can be averaged and trained on"
    FEATURES = "penultimate features"
    GRADIENTS = "gradients with respect to samples"
