"""How far vectors are from those that a density was fitted to: the distance to the nearest of several centres.

The squared Mahalanobis distance with one covariance for all centres (Lee, Lee, Lee & Shin 2018, "A simple unified
framework for detecting out-of-distribution samples"). The covariance keeps its largest directions and evens out the
others (probabilistic principal components, Tipping & Bishop 1999), so it takes a few kilobytes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

AXES = 16  # directions that keep a variance of their own
LEAST = 10  # vectors behind a centre
FLOOR = 1e-3  # of the mean variance: no direction has less
TINY = 1e-12
AT_ONCE = 2**22  # numbers in memory


@dataclass(frozen=True, eq=False)
class Density:
    """Gaussians around `centres` float32 (K, d) with one covariance.

    `axes` float32 (d, k) are orthonormal; `variances` float32 (k + 1,) are those along them, and last that along any
    other direction.
    """

    centres: Tensor
    axes: Tensor
    variances: Tensor

    def distance(self, vectors: Tensor) -> Tensor:
        """The distance (not squared) of vectors (n, d) to the nearest centre, float64 (n,)."""
        scale = self.whitener()
        centres = self.centres.double() @ scale
        few = max(1, AT_ONCE // max(centres.numel(), 1))
        parts = (vectors.double() @ scale).split(few)
        return torch.cat([(part[:, None] - centres).square().sum(2).amin(1).sqrt() for part in parts])

    def whitener(self) -> Tensor:
        """The symmetric matrix float64 (d, d) after which distances are those between points."""
        axes = self.axes.double()
        roots = self.variances.double().rsqrt()
        identity = torch.eye(len(axes), dtype=torch.float64)
        whitener: Tensor = roots[-1] * identity + (axes * (roots[:-1] - roots[-1])) @ axes.T
        return whitener


def fit_density(vectors: Tensor, classes: Tensor) -> Density:
    """The density of vectors (n, d) of the classes (n,), n at least 1: a centre for each class of `LEAST` and more.

    Vectors of rarer classes have no part, unless there is no other: then one centre is the mean of all.
    """
    values = vectors.double()
    counts = torch.bincount(classes)
    frequent = (counts >= LEAST).nonzero().flatten()
    if not len(frequent):
        classes = torch.zeros_like(classes)
        frequent = torch.zeros(1, dtype=torch.int64)
    centres = torch.stack([values[classes == c].mean(0) for c in frequent.tolist()])
    place = torch.full((int(classes.max()) + 1,), -1)
    place[frequent] = torch.arange(len(frequent))
    own = place[classes]
    off = values[own >= 0] - centres[own[own >= 0]]
    spread, directions = torch.linalg.eigh(off.T @ off / len(off))
    spread = spread.clamp(min=0).flip(0)
    count = min(AXES, len(spread))
    floor = FLOOR * float(spread.mean()) + TINY
    rest = max(float(spread[count:].mean()) if count < len(spread) else float(spread[-1]), floor)
    variances = torch.cat([spread[:count].clamp(min=rest), torch.tensor([rest], dtype=torch.float64)])
    return Density(centres.float(), directions.flip(1)[:, :count].float().contiguous(), variances.float())
