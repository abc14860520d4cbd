"""k-means centres of penultimate features, or of vectors, per class (docs/method.md, step 4)."""

import torch

from mosaic_fl.config import PrototypesConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.exchange.contribution import Prototypes
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.numerics.devices import images_at_once
from mosaic_fl.numerics.k_means import k_means
from mosaic_fl.numerics.randomness import Stream


@torch.no_grad()
def prototypes(model: Classifier | None, data: Dataset, config: PrototypesConfig, stream: Stream) -> Prototypes:
    """At most `per_class` centres a class, each the mean of at least `min_cluster` samples.

    `min_cluster` protects privacy: the centre of a cluster of one sample is that sample. Smaller clusters are dropped,
    and a class gets only as many clusters as it can fill. Features are those of `model` in eval mode on the CPU. Where
    it is None they are the samples themselves, vectors of one space.
    """
    samples = data.samples if config.per_class else data.samples[:1]  # one sample shows the number of features
    if model is None:
        rows = samples.only
    else:
        rows = torch.cat([model.features(part.inputs()) for part in samples.split(images_at_once("cpu"))])
    centres = [rows.new_zeros(0, rows.shape[1])]
    labels = []
    sizes = []
    for label in data.labels.unique().tolist() if config.per_class else []:
        points = rows[data.labels == label]
        clusters = min(config.per_class, len(points) // config.min_cluster)
        if clusters == 0:
            continue
        assignment = k_means(points, clusters, Stream(stream.seed, "prototypes", stream.client, label))
        for cluster in range(clusters):
            members = points[assignment == cluster]
            if len(members) >= config.min_cluster:
                centres.append(members.mean(0, keepdim=True))
                labels.append(label)
                sizes.append(len(members))
    return Prototypes(
        torch.cat(centres), torch.tensor(labels, dtype=torch.int64), torch.tensor(sizes, dtype=torch.int64)
    )
