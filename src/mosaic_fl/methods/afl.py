"""AFL (He, Tong, Fang et al. 2025, "AFL: a single-round analytic approach for federated learning", CVPR).

1. Client k solves a ridge regression of one-hot labels Y on its vectors X of a public encoder, without intercept:
   W_k = (X_kᵀX_k + γI)⁻¹·X_kᵀY_k. It sends W_k and C_k = X_kᵀX_k + γI.
2. The server merges two clients at a time by the absolute aggregation law. It gives (C_u + C_v)⁻¹·(C_u·W_u + C_v·W_v).
3. In the end the K·γ of all clients is taken off: W = (C − K·γ·I)⁻¹·C·W_merged, which is (XᵀX)⁻¹·XᵀY of the pooled
   vectors for every split and every γ.

Here that closed form is computed directly. What travels is the generator `exact_moments`, from which both X_kᵀX_k and
X_kᵀY_k = (n_c·m_c)_c follow: as many numbers as C_k and W_k, of the symmetric matrix one half. The tests do the paper's
recursion and find the same. Where XᵀX has no inverse the pseudo-inverse stands for it, the limit of a penalty that
goes to 0.
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


def afl(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """One exchange of statistics; the same head for every split. Raises UsageError where nobody sent moments."""
    return closed_form_head(head, federation, journal)


def head(parts: Sequence[Moments]) -> tuple[Tensor, Tensor]:
    """Weight float32 (C, d) and bias (C,), which is 0, of all vectors together."""
    pooled = merge(parts)
    products = around(pooled, torch.zeros_like(pooled.means[0]))
    sums = pooled.means * pooled.counts[:, None]
    weight = sums @ pseudo_inverse(products)
    return without_absent(weight, torch.zeros_like(weight[:, 0]), pooled.counts)
