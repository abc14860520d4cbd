"""Moments that a site tells: a sample lies closer to a mean, and in a spread, that it is part of."""

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from mosaic_fl.domains.dataset import Dataset, pool
from mosaic_fl.generators.mixtures import Mixtures
from mosaic_fl.generators.moments import ClassMoments
from mosaic_fl.numerics.moments import Moments, covariance
from mosaic_fl.privacy.audit.case import Case, Pair

NO_MOMENTS = "it sends no moments"
TINY = 1e-6


def density(case: Case) -> Pair | str:
    """Minus the squared Mahalanobis distance to the told Gaussian of a sample's class, the nearest of several.

    Of `mixtures` it is the logarithm of their density. Samples of a class that is not told are left out.
    """
    told = case.told
    if told is None:
        return NO_MOMENTS
    data = pool([told.members, told.strangers])
    vectors = data.samples.only.double()
    if isinstance(told.moments, ClassMoments):
        moments, places = gaussians(data, told.moments)
        scores = -_squared_distances(vectors, places, moments)
    else:
        scores = _log_densities(vectors, data.labels, told.moments)
    members, strangers = case.parted(scores)
    return members[~members.isnan()], strangers[~strangers.isnan()]


def gaussians(data: Dataset, told: ClassMoments) -> tuple[Moments, Tensor]:
    """(moments as of one class for each Gaussian that is told, the number (n,) of that of each vector).

    It is that of the vector's class, or of several the nearest one.
    """
    components = told.components
    if components is None:
        return told.moments, data.labels
    own = components.moments
    counts, means = (torch.cat([part, torch.zeros_like(part[:1])]) for part in (own.counts, own.means))
    every = Moments(counts, means, own.scatter)
    places = torch.full_like(data.labels, len(own.counts))  # of a class that is not told the last one, of no vectors
    for label in components.owners.unique().tolist():
        rows = (data.labels == label).nonzero()[:, 0]
        ours = (components.owners == label).nonzero()[:, 0]
        vectors = data.samples.only[rows].double()
        away = torch.stack([_squared_distances(vectors, ours[[j] * len(rows)], every) for j in range(len(ours))])
        places[rows] = ours[away.argmin(0)]
    return every, places


def _squared_distances(vectors: Tensor, labels: Tensor, moments: Moments) -> Tensor:
    """(x − m_y)ᵀ Σ⁻¹ (x − m_y), float64 (n,); NaN for a Gaussian of no vectors."""
    off = vectors - moments.means[labels]
    distances = (off * whitened(off, moments)).sum(1)
    return torch.where(moments.counts[labels] > 0, distances, torch.nan)


def whitened(vectors: Tensor, moments: Moments) -> Tensor:
    """Σ⁻¹ x of vectors x float64 (n, d), with the covariance that the moments tell."""
    square = covariance(moments)
    return vectors / square if moments.is_diagonal else torch.linalg.solve(square, vectors.T).T


def _log_densities(vectors: Tensor, labels: Tensor, mixtures: Mixtures) -> Tensor:
    """log p(x | y), float64 (n,); NaN for a class without vectors."""
    scores = torch.full((len(vectors),), torch.nan, dtype=torch.float64)
    for label in labels.unique().tolist():
        if int(mixtures.counts[label]) == 0:
            continue
        own = labels == label
        parts = [
            weight.double().log() + _log_density(vectors[own], mixtures, label, place)
            for place, weight in enumerate(mixtures.weights[label])
            if float(weight) > 0
        ]
        scores[own] = torch.stack(parts).logsumexp(0)
    return scores


def _log_density(vectors: Tensor, mixtures: Mixtures, label: int, place: int) -> Tensor:
    """log N(x) of a component, float64 (n,)."""
    mean = mixtures.means[label, place].double()
    spread = mixtures.spread[label, place].double()
    size = mixtures.size
    if spread.ndim == 1 and len(spread) != size:  # the lower triangle of a root
        root = torch.zeros(size, size, dtype=torch.float64)
        rows, columns = torch.tril_indices(size, size)
        root[rows, columns] = spread
        root.diagonal().clamp_(min=TINY)
        law = MultivariateNormal(mean, scale_tril=root)
        density: Tensor = law.log_prob(vectors)
        return density
    numbers: Tensor = Normal(mean, spread.expand(size).clamp(min=TINY)).log_prob(vectors)
    return numbers.sum(1)
