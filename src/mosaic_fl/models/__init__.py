"""Classifiers: the networks that clients and the server train. `registry` builds one from its name."""

from mosaic_fl.models import (  # noqa: F401  (they register)
    convolutional,
    gaussian,
    late_fusion,
    lenet,
    linear,
    perceptron,
    residual,
    subclasses,
    tokens,
    transformer,
)
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.defaults import default_models, default_student
from mosaic_fl.models.registry import build, check, check_name, families, trust, trust_own

__all__ = [
    "Classifier",
    "build",
    "check",
    "check_name",
    "default_models",
    "default_student",
    "families",
    "trust",
    "trust_own",
]
