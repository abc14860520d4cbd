"""What a model sees of a sample, as at most `WIDTH` numbers: of a network its penultimate features, else its inputs."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mosaic_fl.domains.samples import Samples
from mosaic_fl.experts.boosted import rows_of
from mosaic_fl.experts.kind import Expert
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.numerics.devices import images_at_once

WIDTH = 64
ROWS = 4096  # at once, of a model that is no network


@torch.no_grad()
def condensed(expert: Expert, samples: Samples, device: torch.device | str = "cpu") -> Tensor:
    """float32 (n, d) on the CPU, d at most `WIDTH`."""
    if not isinstance(expert, Classifier):
        return torch.cat([narrowed(rows_of(part)) for part in samples.to("cpu").split(ROWS)])
    was_training = expert.training
    network = expert.eval().to(device)
    parts = samples.split(images_at_once(device))
    features = [narrowed(network.features(part.to(device).inputs()).float()).cpu() for part in parts]
    expert.train(was_training)
    return torch.cat(features)


def narrowed(values: Tensor) -> Tensor:
    """(n, …) as (n, d): means of as many neighbours each as it takes. Those of one map of a convolution are one's."""
    flat = values.flatten(1)
    share = -(-flat.shape[1] // WIDTH)
    return F.avg_pool1d(flat[:, None], share, ceil_mode=True)[:, 0] if share > 1 else flat
