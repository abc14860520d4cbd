"""FedCGS (Guan, Zhou & Gu 2025, "Capture global feature statistics for one-shot federated learning", AAAI).

1. Client k sends, of the vectors f of a public encoder, Σ f by class, Σ f·fᵀ and the number of vectors by class. They
   travel as the generator `exact_moments`, which holds the same numbers around the class means.
2. The server adds them up, so it has the class means μ_c and the covariance Σ of the pooled vectors around their one
   mean, divided by N − 1. That is not the covariance within classes, which Mosaic's `discriminant` takes.
3. The head is w_c = Σ⁻¹·μ_c and b_c = log(N_c/N) − ½·μ_cᵀ·Σ⁻¹·μ_c.

As the authors' code it shrinks nothing. Where Σ has no inverse, as with fewer vectors than numbers, the pseudo-inverse
stands for it: we found nothing on that case. The personalised variant of the paper is not here.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mosaic_fl.config import Config
from mosaic_fl.exchange.federation import Federation
from mosaic_fl.methods.linear_head import closed_form_head
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.numerics.moments import Moments, around, merge, pseudo_inverse, without_absent
from mosaic_fl.storage.journal import Journal


def fedcgs(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """One exchange of statistics; the same head for every split. Raises UsageError where nobody sent moments."""
    return closed_form_head(head, federation, journal)


def head(parts: Sequence[Moments]) -> tuple[Tensor, Tensor]:
    """Weight float32 (C, d) and bias (C,) of all vectors together."""
    pooled = merge(parts)
    shares = pooled.counts.double() / max(pooled.total, 1)
    spread = around(pooled, shares @ pooled.means) / max(pooled.total - 1, 1)
    weight = pooled.means @ pseudo_inverse(spread)
    bias = shares.log() - 0.5 * (weight * pooled.means).sum(1)
    return without_absent(weight, bias, pooled.counts)
