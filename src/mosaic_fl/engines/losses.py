"""What a client tells of a model's log-loss on its validation split: sums, in whole numbers."""

import torch
from torch import Tensor
from torch.nn import functional as F

from mosaic_fl.exchange.federation import HIGHEST_LOSS, MILLINATS, TEMPERATURES

LOSS_COLUMNS = 1 + len(TEMPERATURES)


def loss_table(outputs: Tensor, labels: Tensor) -> Tensor:
    """Of log-probabilities (n, C) and classes (n,): int64 (C, `LOSS_COLUMNS`).

    By true class the samples, and the sums of their log-loss in `MILLINATS` where logits are divided by each of
    `TEMPERATURES`.
    """
    classes = outputs.shape[1]
    logits = (outputs.double() / heat for heat in TEMPERATURES)
    each = [F.cross_entropy(values, labels, reduction="none") for values in logits]
    losses = torch.stack(each, 1).clamp(max=HIGHEST_LOSS) * MILLINATS
    sums = torch.zeros(classes, len(TEMPERATURES), dtype=torch.float64).index_add_(0, labels, losses)
    return torch.cat([torch.bincount(labels, minlength=classes)[:, None], sums.round().long()], 1)
