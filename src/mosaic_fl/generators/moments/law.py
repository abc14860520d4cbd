"""The Gaussians that a generator of class moments draws from."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mosaic_fl.generators.picking import pick, uniform


@dataclass(frozen=True, eq=False)
class Law:
    """x = m + Σ^½ z with `means` float32 (m, d) and the `root` of a covariance: a diagonal (d,), (d, d), or one a class
    (C, d, d).

    Without `shares` class y has the mean y. With them, float64 (C, k), it has the means `first[y]`, `first[y]` + 1, …
    in these shares; `first` is int64 (C,).
    """

    means: Tensor
    root: Tensor
    first: Tensor | None = None
    shares: Tensor | None = None

    def to(self, device: torch.device) -> "Law":
        """The same on a device."""
        names = ("means", "root", "first", "shares")
        return replace(self, **{name: own.to(device) for name in names if (own := getattr(self, name)) is not None})

    def draw(self, z: Tensor, labels: Tensor) -> Tensor:
        """Vectors (n, d) of normal draws z (n, d) and classes (n,).

        The first number of z picks the component. Where it lies in the share of that one is uniform, and so makes a
        normal number again.
        """
        if self.first is None or self.shares is None:
            return self.means[labels] + spread(z, labels, self.root)
        place, level = pick(self.shares[labels], uniform(z[:, 0].double()))
        again = torch.special.ndtri(level).to(z)
        noise = torch.cat([again[:, None], z[:, 1:]], 1)
        return self.means[self.first[labels] + place] + spread(noise, labels, self.root)


def spread(z: Tensor, labels: Tensor, root: Tensor) -> Tensor:
    """Normal draws z (n, d) spread by the root of a covariance: a diagonal (d,), (d, d), or one a class (C, d, d)."""
    if root.ndim == 1:
        return z * root
    if root.ndim == 2:
        return z @ root.T
    result = torch.empty_like(z)
    for label in labels.unique().tolist():
        rows = labels == label
        result[rows] = z[rows] @ root[label].T
    return result
