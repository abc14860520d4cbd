"""Components of classes: a class as several Gaussians, all of one covariance (mixture discriminant analysis).

After Hastie & Tibshirani 1996. Each vector belongs to one component, so components are as classes are: their counts,
means and scatter add up, and the moments of the classes follow from them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mosaic_fl.numerics.k_means import k_means
from mosaic_fl.numerics.moments import ABSENT, LEAST, Moments, covariance, discriminant
from mosaic_fl.numerics.randomness import Stream

VECTORS = 50  # of a class for each of its components, on average
MOST = 16  # components of a class
NEVER = -1e4  # the logit of a component that there is not


@dataclass(frozen=True, eq=False)
class Centres:
    """Means of components: the class of each, `owners` int64 (m,), ascending; `sizes` int64 (m,); `means` (m, d)."""

    owners: Tensor
    sizes: Tensor
    means: Tensor


@dataclass(frozen=True, eq=False)
class Components:
    """All components of all classes: the class of each, `owners` int64 (m,), ascending, and their `moments`.

    These are moments as of m classes: the scatter is that around the components' means.
    """

    owners: Tensor
    moments: Moments


def centres_of(vectors: Tensor, labels: Tensor, moments: Moments, most: int, stream: Stream) -> Centres:
    """The components of those classes of vectors (n, d) with `labels` (n,) that have two and more.

    `moments` are those of the vectors. A class of n vectors has `most` components at most, and n / `VECTORS`. They are
    clusters of k-means, where distance is measured by the covariance within classes. A cluster of fewer than `LEAST`
    vectors joins the one that is nearest.
    """
    parts = list[Centres]()
    shared = covariance(moments)
    inverse = None if moments.is_diagonal else torch.linalg.cholesky(torch.linalg.inv(shared))
    for label, count in enumerate(moments.counts.tolist()):
        wanted = min(most, count // VECTORS)
        if wanted < 2:
            continue
        own = vectors[labels == label].double()
        scaled = own / shared.sqrt() if inverse is None else own @ inverse
        seed = Stream(stream.seed, f"{stream.stage}/components", stream.client, label)
        groups = _joined(scaled, k_means(scaled, wanted, seed))
        sizes = torch.bincount(groups)
        if len(sizes) > 1:
            sums = torch.zeros(len(sizes), own.shape[1], dtype=torch.float64).index_add_(0, groups, own)
            parts.append(Centres(torch.full_like(sizes, label), sizes, sums / sizes[:, None]))
    return together(parts, vectors.shape[1])


def _joined(points: Tensor, groups: Tensor) -> Tensor:
    """The `groups` (n,) of points (n, d) where each has `LEAST` points and more; numbers without a gap."""
    while True:
        names, groups = groups.unique(return_inverse=True)
        sizes = torch.bincount(groups)
        small = int(sizes.argmin())
        if len(names) == 1 or int(sizes[small]) >= LEAST:
            return groups
        means = torch.stack([points[groups == name].mean(0) for name in range(len(names))])
        away = (means - means[small]).square().sum(1)
        away[small] = torch.inf
        groups = torch.where(groups == small, away.argmin(), groups)


def together(parts: Sequence[Centres], size: int) -> Centres:
    """The components of all `parts`, of vectors of `size` numbers, in the order of their classes."""
    owners = torch.cat([torch.zeros(0, dtype=torch.int64), *(part.owners for part in parts)])
    order = owners.argsort(stable=True)
    sizes = torch.cat([torch.zeros(0, dtype=torch.int64), *(part.sizes for part in parts)])
    means = torch.cat([torch.zeros(0, size, dtype=torch.float64), *(part.means for part in parts)])
    return Centres(owners[order], sizes[order], means[order])


def components_of(moments: Moments, listed: Centres) -> Components:
    """The components of the classes of these `moments`: those `listed`, and each other class as one.

    The scatter around components is that around the classes' means, without what lies between them:
    W = S − Σ_j n_j (m_j − m_y)(m_j − m_y)ᵀ.
    """
    single = moments.counts > 0
    single[listed.owners] = False
    rows = single.nonzero()[:, 0]
    own = Centres(rows, moments.counts[rows], moments.means[rows])
    every = together([listed, own], moments.means.shape[1])
    off = (every.means - moments.means[every.owners]) * every.sizes.double().sqrt()[:, None]
    between = off.square().sum(0) if moments.is_diagonal else off.T @ off
    return Components(every.owners, Moments(every.sizes, every.means, moments.scatter - between))


def grouped(components: Components, groups: Tensor, count: int) -> Moments:
    """The moments of `count` groups of components, of which `groups` (m,) says the one of each.

    With the components' owners as groups they are the moments of the classes.
    """
    own = components.moments
    counts = torch.zeros(count, dtype=torch.int64).index_add_(0, groups, own.counts)
    sums = torch.zeros(count, own.means.shape[1], dtype=torch.float64)
    sums.index_add_(0, groups, own.means * own.counts[:, None])
    means = sums / counts.clamp(min=1)[:, None]
    off = (own.means - means[groups]) * own.counts.double().sqrt()[:, None]
    between = off.square().sum(0) if own.is_diagonal else off.T @ off
    return Moments(counts, means, own.scatter + between)


def union(parts: Sequence[Components]) -> Components:
    """The components of all `parts` beside each other; the scatter is a diagonal where one of them has no more."""
    centres = [Centres(part.owners, part.moments.counts, part.moments.means) for part in parts]
    every = together(centres, parts[0].moments.means.shape[1])
    scatters = [part.moments.scatter for part in parts]
    if any(part.moments.is_diagonal for part in parts):
        scatters = [scatter if scatter.ndim == 1 else scatter.diagonal() for scatter in scatters]
    return Components(every.owners, Moments(every.sizes, every.means, torch.stack(scatters).sum(0)))


def reduced(components: Components, seed: int = 0) -> Components:
    """The same with `MOST` components a class at most: where there are more, those that are near count as one.

    The moments of the classes stay as they are.
    """
    own = components.moments
    if not bool((torch.bincount(components.owners) > MOST).any()):
        return components
    shared = covariance(own)
    inverse = None if own.is_diagonal else torch.linalg.cholesky(torch.linalg.inv(shared))
    scaled = own.means / shared.sqrt() if inverse is None else own.means @ inverse
    groups = torch.zeros_like(components.owners)
    owners = list[int]()
    for label in components.owners.unique().tolist():
        rows = (components.owners == label).nonzero()[:, 0]
        part = torch.arange(len(rows))
        if len(rows) > MOST:
            stream = Stream(seed, "components", round=label)
            part = k_means(scaled[rows], MOST, stream, own.counts[rows]).unique(return_inverse=True)[1]
        groups[rows] = part + len(owners)
        owners += [label] * (int(part.max()) + 1)
    return Components(torch.tensor(owners), grouped(components, groups, len(owners)))


def mixture_discriminant(components: Components, classes: int, most: int = MOST) -> tuple[Tensor, Tensor]:
    """Weights float32 (C, k, d) and biases (C, k), k = `most`: logits of components, whose sum of exponentials is that
    of their class.

    log p(y|x) = log Σ_j exp(xᵀ Σ⁻¹ m_yj − ½ m_yjᵀ Σ⁻¹ m_yj + log n_yj), up to a constant. With one component a class
    it is Fisher's discriminant. A class without vectors is never the answer.
    """
    weight, bias = discriminant(components.moments)
    weights = torch.zeros(classes, most, weight.shape[1])
    biases = torch.full((classes, most), NEVER)
    biases[:, 0] = ABSENT
    counts = torch.bincount(components.owners, minlength=classes)
    places = torch.arange(len(bias)) - (counts.cumsum(0) - counts)[components.owners]
    weights[components.owners, places] = weight
    biases[components.owners, places] = bias
    return weights, biases
