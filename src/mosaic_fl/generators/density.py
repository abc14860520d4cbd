"""The density of a VAE's latents: a mixture of Gaussians for each class, fitted to the encoder's latents of that class.

An encoder's latents never fill N(0, 1) exactly; a density fitted after the training is closer (Ghosh et al. 2020). On
MNIST a student on labels alone gains 4.7 points from one Gaussian a class, and one more from a mixture (docs/notes).
"""

import math
import warnings
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mosaic_fl.errors import UsageError
from mosaic_fl.numerics.states import State

COMPONENTS = 16  # Gaussians a class, at most
COMPONENT_SAMPLES = 50  # samples a component must have on average; with fewer the mixture has fewer components
LEAST_SAMPLES = 10.0  # a component with fewer is dropped: it would reproduce them
PRIOR_SAMPLES = 10.0  # weight, in samples, of N(0, 1) in a class's Gaussian, and of that Gaussian in each component
MOST_FITTED = 4000  # samples a class that the mixture is fitted to
# bounds on a received density: its latents began as N(0, 1)
SUM_SLACK = 1e-3
FARTHEST = 1e4
LARGEST_SCALES = 2**24  # values of scales, as matrices, that exist at once
EDGE = 1e-6  # distance from 0 and 1 within which probabilities have no quantile in float32


class ClassMixture(nn.Module):
    """R Gaussians: `share` (R,), `location` (R, latent) and lower-triangular `scale` (R, latent·(latent + 1)/2).

    The first is N(0, 1), for classes without samples. Those of class 0 follow, then those of class 1, and so on:
    `components` uint8 (C,) counts them. So a client sends nothing of classes that it does not hold. A scale is
    the rows of its triangle, one after the other.
    """

    components: Tensor
    share: Tensor
    location: Tensor
    scale: Tensor

    def __init__(self, classes: int, latent: int) -> None:
        """N(0, 1) for every class."""
        super().__init__()
        self.latent = latent
        self.register_buffer("components", torch.zeros(classes, dtype=torch.uint8))
        self.register_buffer("share", torch.ones(1))
        self.register_buffer("location", torch.zeros(1, latent))
        self.register_buffer("scale", _triangle(torch.eye(latent)[None]))

    def resize(self, rows: int) -> None:
        """Make room for so many Gaussians, whose numbers are then undefined, for a state or for sizes alone."""
        self.share = self.share.new_empty(rows)
        self.location = self.location.new_empty(rows, self.latent)
        self.scale = self.scale.new_empty(rows, self.scale.shape[1])

    def assign(self, mixtures: Mapping[int, "Mixture"]) -> None:
        """Give the classes that are keys of `mixtures` these Gaussians, and all others N(0, 1)."""
        self.components.zero_()
        parts = [(torch.ones(1), torch.zeros(1, self.latent), torch.eye(self.latent)[None])]
        for label, mixture in sorted(mixtures.items()):
            self.components[label] = len(mixture[0])
            parts.append(mixture)
        self.share, self.location, scales = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        self.scale = _triangle(scales)

    def of(self, label: int) -> "Mixture":
        """The Gaussians of a class."""
        count = int(self.components[label])
        first = 1 + int(self.components[:label].sum()) if count else 0
        rows = slice(first, first + max(1, count))
        return self.share[rows], self.location[rows], self._square(self.scale[rows])

    def check(self) -> None:
        """Raise UsageError where the numbers, which may come from received bytes, are no density of latents."""
        counts = self.components.long()
        if int(counts.max()) > COMPONENTS or 1 + int(counts.sum()) != len(self.share):
            raise UsageError(f"the generator's density has components of no class, or more than {COMPONENTS} of one")
        shares, _ = self._shares(torch.arange(len(counts), device=counts.device))
        if float(self.share.min()) < 0 or float((shares.sum(1) - 1).abs().max()) > SUM_SLACK:
            raise UsageError("the generator's density has shares that do not sum to 1")
        if max(float(self.location.abs().max()), float(self.scale.abs().max())) > FARTHEST:
            raise UsageError(f"the generator's density lies farther than {FARTHEST:g} from 0")

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Standard normal `z` (n, latent), placed in the mixtures of `labels` (n,).

        The first coordinate z₀ also picks the component: the one in whose share of 0..1 the probability Φ(z₀) lies. The
        position within that share, scaled to 0..1, is the new quantile of z₀. So z₀ stays standard normal, and
        independent of the pick.
        """
        shares, first = self._shares(labels)
        ends = shares.cumsum(1)
        u = (0.5 * (1 + torch.erf(z[:, 0] / math.sqrt(2)))).clamp(EDGE, 1 - EDGE)
        most = ((shares > 0).sum(1) - 1).clamp(min=0)  # the last end may lie below u in float32
        pick = torch.minimum((u[:, None] >= ends).sum(1), most)
        share = shares.gather(1, pick[:, None]).flatten().clamp(min=EDGE)  # a received share may be 0
        quantile = ((u - (ends.gather(1, pick[:, None]).flatten() - share)) / share).clamp(EDGE, 1 - EDGE)
        start = torch.where(share < 1, math.sqrt(2) * torch.erfinv(2 * quantile - 1), z[:, 0])
        z = torch.cat([start[:, None], z[:, 1:]], 1)
        few = max(1, LARGEST_SCALES // self.latent**2)
        parts = zip(z.split(few), (first + pick).split(few), strict=True)
        return torch.cat(
            [self.location[r] + torch.einsum("nij,nj->ni", self._square(self.scale[r]), points) for points, r in parts]
        )

    def fit(self, mean: Tensor, log_variance: Tensor, labels: Tensor, seed: int) -> None:
        """Fit to the posteriors N(mean, e^log_variance), (n, latent) each, of samples with `labels` (n,).

        The moments of a component are those of its samples' posteriors, shrunk towards the class's Gaussian with the
        weight of `PRIOR_SAMPLES` samples. The class's Gaussian is shrunk towards N(0, 1) in the same way, so a class of
        few samples is not reproduced. A class without samples stays at N(0, 1). Components are sorted by size, the
        largest first.
        """
        normal = torch.zeros(mean.shape[1]), torch.eye(mean.shape[1])
        mixtures = dict[int, Mixture]()
        for label in labels.unique().tolist():
            mine = labels == label
            at = mean[mine].double()
            spread = log_variance[mine].double().exp()
            count = most_components(len(at))
            class_moments = _moments(at, spread, torch.ones(len(at)), normal)
            parts = [class_moments]
            shares = torch.ones(1)
            if count > 1:
                weights = _responsibilities(at, spread, count, seed)
                shares = weights.mean(0)
                parts = [_moments(at, spread, column, class_moments) for column in weights.T]
            locations, covariances = zip(*parts, strict=True)
            scales = torch.stack([torch.linalg.cholesky(covariance).float() for covariance in covariances])
            mixtures[label] = (shares.float(), torch.stack(locations).float(), scales)
        self.assign(mixtures)

    def _shares(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The shares (n, M) of the components of `labels` (n,), 0 beyond the last, and the rows (n,) of their first."""
        counts = self.components.long()
        ends = 1 + counts.cumsum(0)
        count = counts[labels]
        first = torch.where(count > 0, (ends - counts)[labels], 0)
        place = torch.arange(COMPONENTS, device=labels.device)
        rows = (first[:, None] + place).clamp(max=len(self.share) - 1)
        return torch.where(place < count.clamp(min=1)[:, None], self.share[rows], 0.0), first

    def _square(self, scale: Tensor) -> Tensor:
        """Triangles (n, latent·(latent + 1)/2) as matrices (n, latent, latent)."""
        rows, columns = torch.tril_indices(self.latent, self.latent, device=scale.device)
        square = scale.new_zeros(len(scale), self.latent**2)
        square[:, rows * self.latent + columns] = scale
        return square.view(-1, self.latent, self.latent)


Mixture = tuple[Tensor, Tensor, Tensor]
"""M Gaussians: their shares (M,), locations (M, latent) and lower-triangular scales (M, latent, latent)."""


def most_components(samples: int) -> int:
    """The most components of a class of so many samples."""
    return min(COMPONENTS, max(1, samples // COMPONENT_SAMPLES)) if samples else 0


def compact(state: State) -> State:
    """The state of a `ClassMixture` as version 0.7 wrote it, 16 components for each class, in the form of today.

    Any other state is returned as it is.
    """
    parts = [state.get(name) for name in ("share", "location", "scale")]
    match parts:
        case [Tensor() as share, Tensor() as location, Tensor() as scale] if share.ndim == 2 and location.ndim == 3:
            latent = location.shape[2]
            shapes = (*share.shape, latent) == location.shape and (*location.shape, latent) == scale.shape
            types = {tensor.dtype for tensor in (share, location, scale)} == {torch.float32}
            if not (shapes and types and "components" not in state and share.shape[1] == COMPONENTS and latent):
                return state
        case _:
            return state
    density = ClassMixture(len(share), latent)
    mixtures = dict[int, Mixture]()
    for label in range(len(share)):
        used = share[label] != 0
        used[0] |= not bool(used.any())  # so that shares without a sum are refused as ever
        mixture = (share[label][used], location[label][used], scale[label][used])
        if not all(torch.equal(*pair) for pair in zip(mixture, density.of(label), strict=True)):  # is not N(0, 1)
            mixtures[label] = mixture
    density.assign(mixtures)
    return dict(density.state_dict())


def _triangle(scale: Tensor) -> Tensor:
    """Lower-triangular matrices (n, latent, latent) as the rows of their triangles (n, latent·(latent + 1)/2)."""
    # Not on the meta device, where networks are outlined: there these indices cost more than all else of a generator.
    rows, columns = torch.tril_indices(*scale.shape[1:], device="cpu")
    return scale[:, rows, columns]


Moments = tuple[Tensor, Tensor]


def _moments(at: Tensor, spread: Tensor, weights: Tensor, prior: Moments) -> Moments:
    """Mean and covariance of weighted posteriors, with those of `PRIOR_SAMPLES` samples of `prior` mixed in."""
    n = float(weights.sum())
    share = n / (n + PRIOR_SAMPLES)
    weights = (weights / n).double()
    mean = weights @ at
    deviations = at - mean
    covariance = (weights[:, None] * deviations).T @ deviations + torch.diag(weights @ spread)
    location, around = (tensor.double() for tensor in prior)
    return share * mean + (1 - share) * location, share * covariance + (1 - share) * around


def _responsibilities(at: Tensor, spread: Tensor, count: int, seed: int) -> Tensor:
    """Responsibilities (n, count or fewer) of a mixture's components for each sample, the largest component first."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    rng = torch.Generator().manual_seed(seed)
    points = at + spread.sqrt() * torch.randn(at.shape, generator=rng, dtype=torch.float64)
    few = points[torch.randperm(len(points), generator=rng)[:MOST_FITTED]]
    with warnings.catch_warnings(), threadpool_limits(1):  # more threads would sum in another order
        warnings.simplefilter("ignore", ConvergenceWarning)  # an approximate fit will do
        mixture = GaussianMixture(count, reg_covar=1e-3, max_iter=50, random_state=seed % 2**32).fit(few.numpy())
        weights = torch.from_numpy(mixture.predict_proba(points.numpy()))
    weights = weights[:, weights.sum(0).argsort(descending=True)]
    weights = weights[:, weights.sum(0) >= LEAST_SAMPLES]  # samples of the others go to their next component
    total = weights.sum(1, keepdim=True)
    return torch.where(total > 0, weights / total.clamp(min=1e-300), 1 / weights.shape[1])
