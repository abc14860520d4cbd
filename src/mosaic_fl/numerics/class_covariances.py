"""Covariances of single classes, drawn towards the one that all classes share: as far as noise and few vectors ask.

In the eigenvectors of the shared covariance, scaled by its eigenvalues, that one is the identity, and a class's own is
off it by a matrix D. Each number of D keeps τ²/(τ² + v) of itself: v is the variance that noise and a finite number of
vectors give it, τ² how much such numbers differ from 0 by more than that (empirical Bayes, as Efron & Morris 1973 for
means). Noise weighs little in directions of large variance, so these keep most.
"""

from dataclasses import replace

import torch
from torch import Tensor

from mosaic_fl.numerics.moments import Moments, covariance

LARGEST = 256  # numbers of a vector up to which a class has a covariance of its own
OWN = 0.8  # of what the estimate keeps: the numbers have heavier tails than it supposes
LEAST_RATIO = 0.4  # of a class's variance to the shared one, in any direction; the largest is its inverse
TYPICAL = 1e-3  # variance that keeps numbers almost without noise from deciding τ² alone
TINY = 1e-5
LEAST_OWN = 2  # vectors of a class of which a covariance can be computed


def with_own(moments: Moments, vectors: Tensor, labels: Tensor, least: int = LEAST_OWN) -> Moments:
    """The `moments` of vectors (n, d) with `labels` (n,), and covariances of classes of `least` and more."""
    counts = moments.counts
    size = vectors.shape[1]
    raw = torch.zeros(len(counts), size, size, dtype=torch.float64)
    for label in (counts >= least).nonzero()[:, 0].tolist():
        off = vectors[labels == label].double() - moments.means[label]
        raw[label] = off.T @ off / (len(off) - 1)
    samples = torch.where(counts >= least, counts, 0)
    return replace(moments, own=class_covariances(raw, samples, covariance(moments)))


def class_covariances(raw: Tensor, samples: Tensor, shared: Tensor, noise: Tensor | None = None) -> Tensor:
    """Positive covariances (C, d, d) of classes, float64.

    `raw` (C, d, d) are those of the classes' own vectors, of which each has `samples` (C,); with 0 a class has the
    shared one. `shared` (d, d) is positive. `noise` (C,) is the variance of noise on a diagonal number of `raw`, of
    which one off the diagonal has half; None: none.
    """
    size = shared.shape[0]
    values, vectors = torch.linalg.eigh(shared)
    scale = values.clamp(min=1e-12 * float(values[-1])).sqrt()
    into = vectors / scale
    identity = torch.eye(size, dtype=torch.float64)
    own = samples > 0
    off = torch.where(own[:, None, None], into.T @ raw @ into - identity, 0.0)
    parts = 1 / samples.clamp(min=1).double()
    variance = parts[:, None, None].expand(-1, size, size)
    if noise is not None:
        weights = scale.reciprocal().square()
        variance = variance + noise[:, None, None] / 2 * torch.outer(weights, weights)
    variance = variance * (1 + identity)
    on, beside = (_excess(off, variance, own, places) for places in (identity > 0, identity == 0))
    spread = torch.where(identity > 0, on, beside)
    ratios, axes = torch.linalg.eigh(identity + OWN * spread / (spread + variance) * off)
    roots = (vectors * scale) @ axes * ratios.clamp(LEAST_RATIO, 1 / LEAST_RATIO).sqrt()[:, None, :]
    return torch.where(own[:, None, None], roots @ roots.mT, shared)


def _excess(off: Tensor, variance: Tensor, own: Tensor, places: Tensor) -> Tensor:
    """τ² of the numbers at `places` (d, d): what `off` (C, d, d) has above its `variance`, least noise first."""
    above = (off.square() - variance)[own][:, places]
    weights = (variance + TYPICAL).reciprocal().square()[own][:, places]
    if not above.numel():
        return torch.tensor(TINY, dtype=torch.float64)
    return ((weights * above).sum() / weights.sum()).clamp(min=TINY)
