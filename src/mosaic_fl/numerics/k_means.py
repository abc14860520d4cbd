"""k-means, from one start: scikit-learn's, the same on every machine and for any number of threads."""

import torch
from torch import Tensor

from mosaic_fl.numerics.randomness import Stream


def k_means(points: Tensor, clusters: int, stream: Stream, weights: Tensor | None = None) -> Tensor:
    """The cluster of each of the `points` (n, d), of which each counts as its weight (n,) says: int64 (n,)."""
    if clusters == 1:
        return torch.zeros(len(points), dtype=torch.int64)
    import warnings

    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    with warnings.catch_warnings(), threadpool_limits(1):  # more threads would sum in another order
        warnings.simplefilter("ignore", ConvergenceWarning)  # identical points make fewer clusters than `clusters`
        model = KMeans(clusters, n_init=1, random_state=stream.integer() % 2**32)
        model.fit(points.double().numpy(), sample_weight=None if weights is None else weights.double().numpy())
    return torch.from_numpy(model.labels_).long()
