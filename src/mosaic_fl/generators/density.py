"""The density of a VAE's latents: a mixture of Gaussians for each class, fitted to the encoder's latents of that class.

An encoder's latents never fill N(0, 1) exactly; a density fitted after the training is closer (Ghosh et al. 2020). On
MNIST a student on labels alone gains 4.7 points from one Gaussian a class, and one more from a mixture (docs/notes).
"""

import math
import warnings

import torch
from torch import Tensor, nn

from mosaic_fl.errors import UsageError

COMPONENTS = 16  # Gaussians a class, at most
COMPONENT_SAMPLES = 50  # samples a component must have on average; with fewer the mixture has fewer components
LEAST_SAMPLES = 10.0  # a component with fewer is dropped: it would reproduce them
PRIOR_SAMPLES = 10.0  # weight, in samples, of N(0, 1) in a class's Gaussian, and of that Gaussian in each component
MOST_FITTED = 4000  # samples a class that the mixture is fitted to
# bounds on a received density: its latents began as N(0, 1)
SUM_SLACK = 1e-3
FARTHEST = 1e4
EDGE = 1e-6  # distance from 0 and 1 within which probabilities have no quantile in float32


class ClassMixture(nn.Module):
    """Per class `share` (C, M) of M components, `location` (C, M, latent) and lower-triangular `scale` (…, latent)."""

    share: Tensor
    location: Tensor
    scale: Tensor

    def __init__(self, classes: int, latent: int) -> None:
        """N(0, 1) for every class."""
        super().__init__()
        self.register_buffer("share", torch.eye(COMPONENTS)[0].repeat(classes, 1))
        self.register_buffer("location", torch.zeros(classes, COMPONENTS, latent))
        self.register_buffer("scale", torch.eye(latent).repeat(classes, COMPONENTS, 1, 1))

    def check(self) -> None:
        """Raise UsageError where the numbers, which may come from received bytes, are no density of latents."""
        sums = self.share.sum(1)
        least = float(self.share.min())
        if least < 0 or float((sums - 1).abs().max()) > SUM_SLACK:
            raise UsageError("the generator's density has shares that do not sum to 1")
        if max(float(self.location.abs().max()), float(self.scale.abs().max())) > FARTHEST:
            raise UsageError(f"the generator's density lies farther than {FARTHEST:g} from 0")

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Standard normal `z` (n, latent), placed in the mixtures of `labels` (n,).

        The first coordinate z₀ also picks the component: the one in whose share of 0..1 the probability Φ(z₀) lies. The
        position within that share, scaled to 0..1, is the new quantile of z₀. So z₀ stays standard normal, and
        independent of the pick.
        """
        ends = self.share[labels].cumsum(1)
        u = (0.5 * (1 + torch.erf(z[:, 0] / math.sqrt(2)))).clamp(EDGE, 1 - EDGE)
        most = ((self.share[labels] > 0).sum(1) - 1).clamp(min=0)  # the last end may lie below u in float32
        pick = torch.minimum((u[:, None] >= ends).sum(1), most)
        share = self.share[labels, pick].clamp(min=EDGE)  # a received share may be 0
        quantile = ((u - (ends.gather(1, pick[:, None]).flatten() - share)) / share).clamp(EDGE, 1 - EDGE)
        first = torch.where(share < 1, math.sqrt(2) * torch.erfinv(2 * quantile - 1), z[:, 0])
        z = torch.cat([first[:, None], z[:, 1:]], 1)
        return self.location[labels, pick] + torch.einsum("nij,nj->ni", self.scale[labels, pick], z)

    def fit(self, mean: Tensor, log_variance: Tensor, labels: Tensor, seed: int) -> None:
        """Fit to the posteriors N(mean, e^log_variance), (n, latent) each, of samples with `labels` (n,).

        The moments of a component are those of its samples' posteriors, shrunk towards the class's Gaussian with the
        weight of `PRIOR_SAMPLES` samples. The class's Gaussian is shrunk towards N(0, 1) in the same way, so a class of
        few samples is not reproduced. A class without samples stays at N(0, 1). Components are sorted by size, the
        largest first.
        """
        normal = torch.zeros(mean.shape[1]), torch.eye(mean.shape[1])
        for label in labels.unique().tolist():
            mine = labels == label
            at = mean[mine].double()
            spread = log_variance[mine].double().exp()
            count = min(COMPONENTS, max(1, len(at) // COMPONENT_SAMPLES))
            class_moments = _moments(at, spread, torch.ones(len(at)), normal)
            parts = [class_moments]
            shares = torch.ones(1)
            if count > 1:
                weights = _responsibilities(at, spread, count, seed)
                shares = weights.mean(0)
                parts = [_moments(at, spread, column, class_moments) for column in weights.T]
            self.share[label] = 0
            self.share[label, : len(shares)] = shares.float()
            for j, (location, covariance) in enumerate(parts):
                self.location[label, j] = location.float()
                self.scale[label, j] = torch.linalg.cholesky(covariance).float()


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
