"""Class moments: how many vectors each class has, their means, and the scatter around these that all classes share.

They add up: merged over clients they are those of the pooled data, whatever the split. Two linear classifiers follow
from them in closed form: Fisher's discriminant, and ridge regression on one-hot labels (the statistics of FedCGS and
of AFL).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

LEAST = 10  # vectors of a class behind each number that leaves a site
TINY = 1e-12
RELATIVE = 1e-12  # of the largest eigenvalue: smaller ones are rounding
ROUNDING = 1e-6  # the same of matrices that were rounded to float32
ABSENT = -30.0  # the logit of a class without vectors, e⁻³⁰


@dataclass(frozen=True, eq=False)
class Moments:
    """Of n vectors of d numbers and C classes, in float64.

    `counts` int64 (C,); `means` (C, d), 0 of a class without vectors; `scatter` (d, d) = Σ (x − m_y)(x − m_y)ᵀ over all
    vectors, or its diagonal (d,). `own` (C, d, d) are positive covariances of each class, estimated, where they are
    known.
    """

    counts: Tensor
    means: Tensor
    scatter: Tensor
    own: Tensor | None = None

    @property
    def total(self) -> int:
        """n."""
        return int(self.counts.sum())

    @property
    def is_diagonal(self) -> bool:
        """Whether the scatter is a diagonal alone."""
        return self.scatter.ndim == 1


def moments_of(vectors: Tensor, labels: Tensor, classes: int, *, least: int = 1, diagonal: bool = False) -> Moments:
    """The moments of `vectors` (n, d) with `labels` (n,), of the classes that `least` vectors and more have."""
    counts = torch.bincount(labels, minlength=classes)
    counts = torch.where(counts >= least, counts, 0)
    rows = counts[labels] > 0
    values = vectors[rows].double()
    own = labels[rows]
    sums = torch.zeros(classes, vectors.shape[1], dtype=torch.float64).index_add_(0, own, values)
    means = sums / counts.clamp(min=1)[:, None]
    centred = values - means[own]
    return Moments(counts, means, centred.square().sum(0) if diagonal else centred.T @ centred)


def merge(parts: Sequence[Moments]) -> Moments:
    """The moments of all vectors of the `parts` together; a diagonal where one of them has a diagonal alone.

    The scatter around the common mean is that around each part's own, and what its own is off:
    S = Σ_k S_k + Σ_k Σ_c n_k[c] (m_kc − m_c)(m_kc − m_c)ᵀ.
    """
    counts = torch.stack([part.counts for part in parts]).sum(0)
    sums = torch.stack([part.means * part.counts[:, None] for part in parts]).sum(0)
    means = sums / counts.clamp(min=1)[:, None]
    diagonal = any(part.is_diagonal for part in parts)
    scatter = torch.zeros_like(means[0]) if diagonal else torch.zeros(2 * means.shape[1:], dtype=torch.float64)
    for part in parts:
        off = (part.means - means) * part.counts.sqrt()[:, None]
        own = part.scatter.diagonal() if diagonal and not part.is_diagonal else part.scatter
        scatter += own + (off.square().sum(0) if diagonal else off.T @ off)
    return Moments(counts, means, scatter)


def around(moments: Moments, centre: Tensor) -> Tensor:
    """Σ (x − c)(x − c)ᵀ over all vectors, float64 (d, d), around a `centre` c (d,); XᵀX around 0.

    It is S + Σ_c n_c (m_c − c)(m_c − c)ᵀ.
    """
    off = moments.means - centre
    own = torch.diag(moments.scatter) if moments.is_diagonal else moments.scatter
    return own + (off * moments.counts[:, None]).T @ off


def covariance(moments: Moments) -> Tensor:
    """The covariance within classes, float64 (d, d) or its diagonal (d,), shrunk until it can be inverted.

    It is shrunk towards a multiple of the identity, as much as few vectors ask for: oracle approximating shrinkage
    (Chen, Wiesel, Eldar & Hero 2010, equation 23), which needs no more than the moments.
    """
    freedom = max(moments.total - int((moments.counts > 0).sum()), 1)
    raw = moments.scatter / freedom
    size = moments.means.shape[1]
    if moments.is_diagonal:
        mean = float(raw.mean())
        share = min(1.0, size / (size + freedom))
        return (1 - share) * raw + share * mean + TINY
    trace = float(raw.trace())
    squares = float(raw.square().sum())
    above = (1 - 2 / size) * squares + trace**2
    below = (freedom + 1 - 2 / size) * (squares - trace**2 / size)
    share = 1.0 if below <= 0 else min(1.0, above / below)
    shrunk = (1 - share) * raw
    shrunk.diagonal().add_(share * trace / size + TINY)
    return _positive(shrunk)


def _positive(square: Tensor) -> Tensor:
    """The symmetric matrix (d, d) itself, or, where it is not positive definite, with its eigenvalues raised.

    Of many vectors that fill few directions it hardly shrinks, and a scatter that travels is rounded to float32.
    """
    if not int(torch.linalg.cholesky_ex(square).info):
        return square
    values, vectors = torch.linalg.eigh(square)
    raised: Tensor = (vectors * values.clamp(min=ROUNDING * float(values[-1]))) @ vectors.T
    return raised


def discriminant(moments: Moments) -> tuple[Tensor, Tensor]:
    """Weight float32 (C, d) and bias (C,) of Fisher's linear discriminant, with the classes' shares as priors.

    log p(y|x) = xᵀ Σ⁻¹ m_y − ½ m_yᵀ Σ⁻¹ m_y + log n_y, up to a constant.
    """
    shrunk = covariance(moments)
    means = moments.means
    weight = means / shrunk if moments.is_diagonal else torch.linalg.solve(shrunk, means.T).T
    bias = -0.5 * (weight * means).sum(1) + moments.counts.clamp(min=1).double().log()
    return without_absent(weight, bias - bias.max(), moments.counts)


def ridge(moments: Moments, strength: float) -> tuple[Tensor, Tensor]:
    """Weight float32 (C, d) and bias (C,) of the least squares to one-hot labels, penalised by `strength` a vector.

    From the same moments: XᵀX = S + Σ_c n_c m_c m_cᵀ and XᵀY = (n_c m_c)_c, here around the overall mean.
    """
    counts = moments.counts.double()
    total = counts.sum().clamp(min=1)
    centre = (moments.means * counts[:, None]).sum(0) / total
    off = moments.means - centre
    gram = around(moments, centre) / total
    gram.diagonal().add_(strength * float(gram.trace()) / len(gram) + TINY)
    weight = torch.linalg.solve(gram, (off * counts[:, None] / total).T).T
    return without_absent(weight, counts / total - weight @ centre, moments.counts)


def pseudo_inverse(square: Tensor) -> Tensor:
    """The inverse of a symmetric matrix (d, d) in the directions in which it has one; 0 in the others."""
    inverse: Tensor = torch.linalg.pinv(square, rtol=RELATIVE, hermitian=True)
    return inverse


def without_absent(weight: Tensor, bias: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (C, d) and bias (C,) in float32, where a class that no vector has is never the answer."""
    absent = counts == 0
    return weight.masked_fill(absent[:, None], 0.0).float(), bias.masked_fill(absent, ABSENT).float()
