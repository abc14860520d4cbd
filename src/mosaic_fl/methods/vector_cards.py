"""The cards of the methods on vectors of a public encoder, and what their settings must be."""

from collections.abc import Mapping
from typing import Any

from mosaic_fl.config import Config
from mosaic_fl.errors import UsageError
from mosaic_fl.methods.card import Card

SUMS: Mapping[str, Any] = {
    "models.clients": ["discriminant"],  # which nobody sends or uses; it is fitted without training
    "generator.family": "exact_moments",
    "generator.min_samples": 2,
    "prototypes.per_class": 0,
}
"""Settings with which a client sends the exact sums of its vectors, and trains nothing."""


def check_sums(config: Config) -> None:
    """Raise UsageError where the clients do not send the exact sums of their vectors."""
    if config.generator.family != SUMS["generator.family"]:
        raise UsageError(
            f"{config.run.method} needs sums of all vectors, not generator {config.generator.family}: leave "
            f"generator.family out, or say {SUMS['generator.family']}"
        )


def check_mixtures(config: Config) -> None:
    """Raise UsageError where the clients do not send mixtures of their vectors."""
    if config.generator.family != "mixtures":
        raise UsageError(
            f"FedPFT draws from mixtures, not generator {config.generator.family}: leave generator.family out, or say "
            "mixtures"
        )


FEDCGS = Card(
    code="mosaic_fl.methods.fedcgs:fedcgs",
    title="FedCGS",
    paper="Guan, Zhou, Gu 2025, AAAI, arXiv 2503.06962",
    summary="clients' sums of vectors and of their products add up to one Gaussian classifier",
    vectors=True,
    defaults=SUMS,
    settings=check_sums,
)
FEDPFT = Card(
    code="mosaic_fl.methods.fedpft:fedpft",
    title="FedPFT",
    paper="Beitollahi et al. 2024, arXiv 2402.01862",
    summary="clients send Gaussian mixtures of each class; a linear head learns from vectors drawn of them",
    vectors=True,
    # Ten diagonal Gaussians a class. Rate and steps of the head are ours: chosen on held-out training vectors of MNIST.
    defaults={
        **SUMS,
        "generator.family": "mixtures",
        "generator.covariance": "diagonal",
        "generator.width": 10,
        "distill.lr": 0.01,
        "distill.steps": 4000,
    },
    settings=check_mixtures,
)
AFL = Card(
    code="mosaic_fl.methods.afl:afl",
    title="AFL",
    paper="He et al. 2025, CVPR, arXiv 2405.16240",
    summary="clients' ridge regressions merge into the least squares of all vectors, without any penalty",
    vectors=True,
    defaults=SUMS,
    settings=check_sums,
)
