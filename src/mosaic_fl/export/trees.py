"""Boosted trees as a network of lookups, for formats that take tensors alone."""

import torch
from torch import Tensor, nn

from mosaic_fl.experts.boosted import BoostedTrees


class Trees(nn.Module):
    """Rows float32 (n, width) -> logits (n, C), those of `BoostedTrees` up to the order of a sum."""

    roots: Tensor
    feature: Tensor
    value: Tensor
    left: Tensor
    right: Tensor
    adds: Tensor

    def __init__(self, trees: BoostedTrees) -> None:
        super().__init__()
        self.depth = trees.depth
        for name in ("roots", "feature", "value", "left", "right"):
            self.register_buffer(name, getattr(trees, name).clone())
        adds = torch.zeros(len(trees.roots), trees.classes)
        adds[torch.arange(len(trees.roots)), trees.outputs] = 1.0
        self.register_buffer("adds", adds)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits."""
        node = torch.zeros_like(inputs[:, :1]).long() + self.roots
        for _ in range(self.depth):
            goes_left = inputs.gather(1, self.feature[node]) < self.value[node]
            node = torch.where(goes_left, self.left[node], self.right[node])
        logits: Tensor = self.value[node] @ self.adds
        return logits
