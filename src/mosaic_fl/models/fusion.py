"""The network that fuses several classifiers' outputs in FENS (Allouah et al. 2024, arXiv 2405.01420, section 3)."""

import torch
from torch import Tensor, nn

from mosaic_fl.models.loading import load_into


class Aggregator(nn.Module):
    """All experts' logits (n, K, C), concatenated -> `width` hidden units with ReLU -> logits (n, C).

    With a width of 2·C or more it can be the mean of the logits: ReLU(m) − ReLU(−m) = m.
    """

    def __init__(self, experts: int, classes: int, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(experts * classes, width)
        self.exit = nn.Linear(width, classes)

    def forward(self, outputs: Tensor) -> Tensor:
        logits: Tensor = self.exit(torch.relu(self.hidden(outputs.flatten(1))))
        return logits


def load_aggregator(state: dict[str, Tensor], experts: int, classes: int) -> Aggregator:
    """The aggregator with the weights `state`, whatever its width; raises UsageError where they do not fit."""
    width = len(state["hidden.bias"]) if "hidden.bias" in state else 1
    with torch.random.fork_rng(devices=[]):
        return load_into(lambda: Aggregator(experts, classes, width), state, "aggregator")
