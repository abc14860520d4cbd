"""DOMIAS (van Breugel, Sun, Qian & van der Schaar 2023): the density of synthetic samples beside that of real ones."""

import torch
from torch import Tensor

from mosaic_fl.privacy.audit.attacks.nearest import NO_GENERATOR
from mosaic_fl.privacy.audit.case import Case, Pair

COMPONENTS = 16
TINY = 1e-6
AT_ONCE = 1000  # rows whose distances to all others exist at once


def domias(case: Case) -> Pair | str:
    """log p_synthetic(x) − log p_real(x), both kernel density estimates in principal components.

    The components are those of all real and synthetic samples, scaled by the real ones; the bandwidths are Scott's.
    Real samples leave themselves out, so that members and strangers are treated alike.
    """
    if case.generator is None:
        return NO_GENERATOR
    real, drawn = _project(case.rows, case.drawn.rows)
    return case.parted(_log_density(real, drawn, own=False) - _log_density(real, real, own=True))


def _project(real: Tensor, synthetic: Tensor) -> tuple[Tensor, Tensor]:
    """Both in at most `COMPONENTS` principal components of both, each of deviation 1 in the real ones."""
    both = torch.cat([real, synthetic]).double()
    centred = both - both.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(both))
    count = min(COMPONENTS, int((values > TINY * values[-1].clamp(min=TINY)).sum()) or 1)
    places = centred @ vectors[:, -count:]
    places = places / places[: len(real)].std(0).clamp(min=TINY)
    return places[: len(real)], places[len(real) :]


def _log_density(at: Tensor, points: Tensor, *, own: bool) -> Tensor:
    """The logarithm of the estimate from `points` (n, d), `at` (m, d), up to a constant: (m,)."""
    n, d = points.shape
    bandwidth = (n - own) ** (-1 / (d + 4))
    parts = list[Tensor]()
    for start in range(0, len(at), AT_ONCE):
        few = at[start : start + AT_ONCE]
        kernels = -torch.cdist(few, points).square() / (2 * bandwidth**2)
        if own:
            kernels[torch.arange(len(few)), torch.arange(start, start + len(few))] = -torch.inf
        parts.append(kernels.logsumexp(1))
    return torch.cat(parts)
