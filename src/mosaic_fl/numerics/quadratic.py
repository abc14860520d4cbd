"""The quadratic discriminant: a Gaussian a class, each with a covariance of its own where the moments tell it."""

import torch
from torch import Tensor

from mosaic_fl.numerics.class_covariances import LEAST_RATIO
from mosaic_fl.numerics.moments import ROUNDING, Moments, covariance

FAR_BELOW = -1e4  # the log-probability of a class without vectors


def quadratic(moments: Moments) -> tuple[Tensor, Tensor, Tensor]:
    """Factors float32 (C, d, d), shifts (C, d) and offsets (C,) of the quadratic discriminant: see `models/gaussian`.

    log p(y|x) = −½‖(x − m_y) A_y‖² + log det A_y + log n_y, up to a constant, with A_y A_yᵀ = Σ_y⁻¹. Where the moments
    have no covariances of classes Σ_y is the shared one, and the answers are those of `discriminant`. A class without
    vectors is never the answer: its Gaussian is narrower than any other, and starts far below.
    """
    classes, size = moments.means.shape
    absent = moments.counts == 0
    shared = covariance(moments)
    shared = torch.diag(shared) if moments.is_diagonal else shared
    own = shared.expand(classes, size, size) if moments.own is None else moments.own
    own = torch.where(absent[:, None, None], shared * LEAST_RATIO, own)
    weights = moments.counts.double() / max(moments.total, 1)
    means = torch.where(absent[:, None], weights @ moments.means, moments.means)
    values, vectors = torch.linalg.eigh(own)
    values = values.clamp(min=ROUNDING * float(values.max()))
    factors = vectors / values.sqrt()[:, None, :]
    shifts = torch.einsum("cd,cde->ce", means, factors)
    offsets = moments.counts.clamp(min=1).double().log() - values.log().sum(1) / 2
    offsets = torch.where(absent, -torch.inf, offsets)
    offsets = offsets - offsets.max().clamp(min=FAR_BELOW)  # where no class has a vector all are as far below
    return factors.float(), shifts.float(), offsets.clamp(min=FAR_BELOW).float()
