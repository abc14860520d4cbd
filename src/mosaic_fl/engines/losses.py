"""What a client tells of a model's log-loss on its validation split: sums, in whole numbers."""

import torch
from torch import Tensor
from torch.nn import functional as F

from mosaic_fl.exchange.federation import HIGHEST_LOSS, MILLINATS, TEMPERATURES

LOSS_COLUMNS = 1 + len(TEMPERATURES)


def loss_table(outputs: Tensor, labels: Tensor) -> Tensor:
    """Of log-probabilities (n, C) and classes (n,): int64 (1, `LOSS_COLUMNS`).

    The samples, and the sums of their log-loss in `MILLINATS` where logits are divided by each of `TEMPERATURES`. Not
    by class: nobody reads that, and of a class with one sample it would be that sample's loss.
    """
    logits = (outputs.double() / heat for heat in TEMPERATURES)
    each = [F.cross_entropy(values, labels, reduction="none") for values in logits]
    losses = torch.stack(each, 1).clamp(max=HIGHEST_LOSS) * MILLINATS
    return torch.cat([torch.tensor([len(labels)]), losses.sum(0).round().long()])[None]
