"""Sums over vectors with noise for differential privacy, and the class moments that follow from them.

One sample adds to the count of its class, to the sum of its class, and to the squares of all classes together. All
three are released at once by the Gaussian mechanism. Noise is removed after all clients' sums were added, never before:
there it is smallest. See docs/encoders.md.
"""

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mosaic_fl.numerics.class_covariances import LEAST_OWN, class_covariances
from mosaic_fl.numerics.gaussian_mechanism import Bytes, secure_normal
from mosaic_fl.numerics.moments import Moments, covariance

GRID = 2**12  # parts of the clip in which a vector's numbers are whole
PRESENT = 3.0  # standard deviations of the noise above which a class's count says that there are vectors
FLOOR = 0.5  # of the mean variance: the least variance of a direction
LEAST_BETWEEN = 0.02  # of the variance within classes: the least between means


@dataclass(frozen=True)
class Mechanism:
    """What is released of one sample, and how much noise it gets.

    Vectors are shortened to the length `clip`. `shares` are those of the squared sensitivity that counts, sums and
    squares have; they sum to 1. `multiplier` is the noise's standard deviation in units of the joint sensitivity.
    """

    clip: float
    shares: tuple[float, float, float]
    multiplier: float

    @property
    def noise(self) -> tuple[float, float, float]:
        """Standard deviations: of a count, of a number of a sum, and of a square on the diagonal.

        One sample changes its count by 1, its sum by a vector of the length `clip` at most, and the squares, as a
        matrix, by one of the Frobenius norm `clip`² at most. Divided by these and weighted with the roots of the shares
        they are one vector of the length √Σ shares = 1 at most: the sensitivity.
        """
        count, total, square = (self.multiplier / math.sqrt(share) for share in self.shares)
        return count, total * self.clip, square * self.clip**2


@dataclass(frozen=True, eq=False)
class NoisySums:
    """In float64: `counts` (C,), `sums` (C, d) and `squares` Σ x xᵀ, each with noise of `variances`.

    `squares` are (d, d), of all classes together, or (C, d, d), those of each. Their variance is that of the diagonal;
    the others have half of it. Variances are 0 without noise; they are (3,), or (3, C) where classes have other ones.
    """

    counts: Tensor
    sums: Tensor
    squares: Tensor
    variances: Tensor

    @property
    def is_by_class(self) -> bool:
        """Whether each class has squares of its own."""
        return self.squares.ndim == 3

    @property
    def together(self) -> "NoisySums":
        """The same with the squares of all classes together."""
        if not self.is_by_class:
            return self
        count, total, square = self.class_variances
        variances = torch.stack([count, total, square.sum().expand_as(count)])
        return NoisySums(self.counts, self.sums, self.squares.sum(0), variances)

    @property
    def class_variances(self) -> Tensor:
        """The variances of each class's count, sum and squares, (3, C)."""
        return self.variances.reshape(3, -1).expand(3, len(self.counts))


def whole_vectors(vectors: Tensor, clip: float) -> Tensor:
    """Vectors (n, d), shortened to the length `clip`, in whole numbers of 1/`GRID` of it, float64.

    Numbers are rounded towards 0, so no length grows: each is `GRID` at most, whatever the vectors hold.
    """
    values = vectors.double().nan_to_num(nan=0.0)
    largest = values.abs().amax(1, keepdim=True).clamp(min=1e-300)
    lengths = largest * (values / largest).norm(dim=1, keepdim=True)  # no square that overflows
    whole = (values * (GRID / lengths.clamp(min=clip))).trunc()
    # The squares of whole numbers are exact here, so this comparison is, too.
    longer = whole.square().sum(1, keepdim=True) > GRID**2
    return torch.where(longer, whole - whole.sign(), whole)


def clipped_share(vectors: Tensor, clip: float) -> float:
    """The share of vectors (n, d) longer than `clip`, 0..1. It says something of the data: it does not leave a site."""
    return float((vectors.double().norm(dim=1) > clip).double().mean()) if len(vectors) else 0.0


def exact_sums(vectors: Tensor, labels: Tensor, classes: int, *, by_class: bool = False) -> NoisySums:
    """The sums over `vectors` (n, d) with `labels` (n,), without noise; squares of each class, if `by_class`."""
    values = vectors.double()
    sums = torch.zeros(classes, values.shape[1], dtype=torch.float64).index_add_(0, labels, values)
    counts = torch.bincount(labels, minlength=classes).double()
    parts = [values[labels == label] for label in range(classes)] if by_class else []
    squares = torch.stack([part.T @ part for part in parts]) if by_class else values.T @ values
    return NoisySums(counts, sums, squares, torch.zeros(3, dtype=torch.float64))


def release(
    vectors: Tensor,
    labels: Tensor,
    classes: int,
    mechanism: Mechanism,
    source: Bytes = secrets.token_bytes,
    *,
    by_class: bool = False,
) -> NoisySums:
    """The sums over vectors of any length with noise: one release by the Gaussian mechanism.

    With `by_class` each class has squares of its own. A vector is in those of one class alone, so each has as much
    noise as one of all together. The sums are of whole numbers, and the noise is rounded to whole numbers before it is
    added: so no bit of a floating-point number tells of the sums themselves (Mironov 2012), and rounding costs no
    privacy.
    """
    whole = whole_vectors(vectors, mechanism.clip)
    size = whole.shape[1]
    exact = exact_sums(whole, labels, classes, by_class=by_class)
    unit = mechanism.clip / GRID
    deviations = torch.tensor(mechanism.noise, dtype=torch.float64)
    scaled = deviations / torch.tensor([1.0, unit, unit**2], dtype=torch.float64)
    rows, columns = torch.tril_indices(size, size)
    matrices = classes if by_class else 1
    noise = secure_normal(classes + classes * size + matrices * len(rows), source)
    on_counts, on_sums, on_squares = noise.split([classes, classes * size, matrices * len(rows)])
    # A number off the diagonal stands for two of the matrix: with half of the variance it counts as much.
    spread = torch.where(rows == columns, 1.0, math.sqrt(0.5)) * scaled[2]
    lower = exact.squares.view(matrices, size, size)[:, rows, columns]
    squares = torch.zeros(matrices, size, size, dtype=torch.float64)
    squares[:, rows, columns] = lower + (on_squares.view(matrices, -1) * spread).round()
    squares[:, columns, rows] = squares[:, rows, columns]
    return NoisySums(
        exact.counts + (on_counts * scaled[0]).round(),
        (exact.sums + (on_sums.view(classes, size) * scaled[1]).round()) * unit,
        squares.view_as(exact.squares) * unit**2,
        deviations.square(),
    )


def release_counts(labels: Tensor, classes: int, noise: float, source: Bytes = secrets.token_bytes) -> Tensor:
    """The counts of `labels` (n,), int64 (C,), with rounded Gaussian noise of the standard deviation `noise`.

    A sample changes them by 1. They may be negative.
    """
    return torch.bincount(labels, minlength=classes) + (secure_normal(classes, source) * noise).round().long()


def sums_of(moments: Moments) -> NoisySums:
    """The sums that class moments stand for, without noise."""
    counts = moments.counts.double()
    scatter = torch.diag(moments.scatter) if moments.is_diagonal else moments.scatter
    sums = moments.means * counts[:, None]
    return NoisySums(counts, sums, scatter + sums.T @ moments.means, torch.zeros(3, dtype=torch.float64))


def joined(parts: Sequence[NoisySums]) -> NoisySums:
    """The sums of the `parts`, each class's of those that tell more of it than their noise takes.

    A site without a class sends nothing but noise for it. So a class has the parts of most vectors, by their own noisy
    counts, as far as each makes its mean better: with v_k the variance of a part's noise, n_k its count and t the mean
    squared length of vectors, (Σ v_k d) / (Σ n_k)² + t / Σ n_k is least. What is chosen follows from noisy numbers
    alone, so it costs no privacy. Parts without noise all count, and so do all where one has squares of all classes
    together, in which no class can be left out.
    """
    if len(parts) < 2 or not all(part.is_by_class for part in parts):
        return add(parts)
    counts = torch.stack([part.counts for part in parts])
    variances = torch.stack([part.class_variances for part in parts])
    size = parts[0].sums.shape[1]
    everything = add(parts)
    length = float(everything.squares.diagonal(dim1=1, dim2=2).sum()) / max(float(everything.counts.sum()), 1.0)
    order = torch.where(variances[:, 1] > 0, counts, math.inf).argsort(dim=0, descending=True, stable=True)
    behind = counts.gather(0, order).clamp(min=0).cumsum(0).clamp(min=1)
    noise = variances[:, 1].gather(0, order).cumsum(0) * size
    errors = noise / behind.square() + max(length, 0.0) / behind
    best = errors.argmin(dim=0)
    chosen = torch.zeros_like(counts).scatter_(0, order, (torch.arange(len(parts))[:, None] <= best).double())
    return NoisySums(
        (chosen * counts).sum(0),
        (chosen[:, :, None] * torch.stack([part.sums for part in parts])).sum(0),
        sum(one[:, None, None] * part.squares for one, part in zip(chosen, parts, strict=True)),
        (chosen[:, None] * variances).sum(0),
    )


def add(parts: Sequence[NoisySums]) -> NoisySums:
    """The sums over all vectors of the `parts`; their variances add up.

    Squares are those of each class where all parts have these, and of all classes together where one has not.
    """
    if not all(part.is_by_class for part in parts):
        parts = [part.together for part in parts]
    return NoisySums(
        torch.stack([part.counts for part in parts]).sum(0),
        torch.stack([part.sums for part in parts]).sum(0),
        torch.stack([part.squares for part in parts]).sum(0),
        torch.stack([part.class_variances for part in parts]).sum(0),
    )


def repaired(noisy: NoisySums) -> Moments:
    """Class moments that data can have, as near to those without noise as the noise allows.

    A class whose count does not stand out of the noise is left out. The scatter within classes gets what noise on the
    means took from it. Its eigenvalues are then cleaned of noise: of all matrices with the same eigenvectors it is the
    one nearest to that without noise (`cleaned`), and no variance is below `FLOOR` times the mean one. Means are drawn
    towards the mean of all where noise is large against the variance (`_shrunk`). Where each class has squares of its
    own the moments have its covariance, drawn towards the shared one (`class_covariances`).
    """
    moments = _repaired(noisy.together)
    return replace(moments, own=_own(noisy, moments)) if noisy.is_by_class else moments


def _own(noisy: NoisySums, moments: Moments) -> Tensor:
    """The covariances (C, d, d) of classes: m_y m_yᵀ taken from the mean square, and the result cleaned of noise."""
    counts = moments.counts.clamp(min=1).double()
    raw = noisy.squares / counts[:, None, None] - moments.means[:, :, None] * moments.means[:, None, :]
    samples = torch.where(moments.counts >= LEAST_OWN, moments.counts, 0)
    return class_covariances(raw, samples, covariance(moments), noisy.class_variances[2] / counts.square())


def _repaired(noisy: NoisySums) -> Moments:
    """`repaired` of squares of all classes together."""
    on_count, on_sum, on_square = noisy.class_variances
    least = (PRESENT * on_count.sqrt()).clamp(min=1.0, max=float(noisy.counts.max()))
    present = noisy.counts >= least
    counts = torch.where(present, noisy.counts.round().clamp(min=1), 0).long()
    means = torch.where(present[:, None], noisy.sums / counts.clamp(min=1)[:, None], 0.0)
    total = float(counts.sum())
    size = means.shape[1]
    lost = float((on_sum / counts.clamp(min=1))[present].sum())
    within = noisy.squares - (means * counts[:, None]).T @ means
    within.diagonal().add_(lost)
    values, vectors = torch.linalg.eigh(within / total)
    # The squares' noise has eigenvalues in a semicircle of this radius (Wigner).
    radius = math.sqrt(2 * size) * float(on_square[0].sqrt()) / total
    clean = cleaned(values, radius)
    clean = clean.clamp(min=max(FLOOR * float(values.mean()), 1e-12))
    means = _shrunk(means, counts, on_sum, clean, vectors)
    return Moments(counts, means, (vectors * clean) @ vectors.T * total)


def _shrunk(means: Tensor, counts: Tensor, variances: Tensor, values: Tensor, vectors: Tensor) -> Tensor:
    """The means (C, d) of classes, expected where their sums have noise of these `variances` (C,).

    Where true means vary β times as much as vectors do within a class, in each of the directions `vectors` (d, d) of
    variances `values` (d,), a mean with noise of variance v keeps λ/(λ + v/β) of its distance from the mean of all:
    empirical Bayes (Efron & Morris 1973). β is what the means vary more than noise explains.
    """
    present = counts > 0
    if not bool(variances.any()) or int(present.sum()) < 2:
        return means
    own = counts[present].double()
    centre = own @ means[present] / own.sum()
    off = means[present] - centre
    noise = variances[present] / own.square()
    between = float(off.square().sum()) / (len(own) - 1) - float(noise.mean()) * len(values)
    ratio = max(between / float(values.sum()), LEAST_BETWEEN)
    share = values / (values + noise[:, None] / ratio)
    shrunk = means.clone()
    shrunk[present] = centre + (off @ vectors * share) @ vectors.T
    return shrunk


def cleaned(values: Tensor, radius: float) -> Tensor:
    """Eigenvalues (d,) of a symmetric matrix with Gaussian noise, whose eigenvalues have that radius, without noise.

    ξ = λ − (r²/2) Re g(λ), g the Stieltjes transform of the eigenvalues: the rotationally invariant estimator of least
    squared error (Bun, Allez, Bouchaud & Potters, IEEE Transactions on Information Theory 2016).
    """
    if radius == 0:
        return values
    width = radius / math.sqrt(len(values))
    gaps = values[:, None] - values
    transform = (gaps / (gaps.square() + width**2)).mean(1)
    return values - radius**2 / 2 * transform
