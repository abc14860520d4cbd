"""Decision trees as flat arrays: a leaf flag and a feature a node, in preorder, and a threshold a split.

A split's left child is the next node and its right child the one after the left child's subtree. So the order of nodes
says who is whose child, and no array can describe anything but a tree, or too few or too many nodes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mosaic_fl.errors import UsageError

LEAST = 10  # rows a leaf
DEEPEST = 40  # splits on the way to a leaf
BYTES = 3  # of a feature's number in a file
LEAF = 2 ** (8 * BYTES) - 1  # stands for a feature at a leaf
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Tree:
    """One tree of N nodes: `feature` int64 (N,), −1 at a leaf, `threshold` float32 (N,), 0 at a leaf.

    `right` int64 (N,) is a split's right child, and at a leaf its number among the leaves; `depth` is the longest way.
    """

    feature: Tensor
    threshold: Tensor
    right: Tensor
    depth: int

    @property
    def leaves(self) -> int:
        """The number of leaves."""
        return (len(self.feature) + 1) // 2

    def leaf_of(self, inputs: Tensor) -> Tensor:
        """The number of the leaf, int64 (n,), in which each row of `inputs` float32 (n, features) ends."""
        node = torch.zeros(len(inputs), dtype=torch.int64, device=inputs.device)
        for _ in range(self.depth):
            feature = self.feature[node]
            goes_left = inputs.gather(1, feature.clamp(min=0)[:, None]).flatten() <= self.threshold[node]
            below = torch.where(goes_left, node + 1, self.right[node])
            node = torch.where(feature >= 0, below, node)
        return self.right[node]

    def to(self, device: torch.device) -> "Tree":
        """The tree on `device`."""
        return Tree(self.feature.to(device), self.threshold.to(device), self.right.to(device), self.depth)


def tree_of(feature: Tensor, thresholds: Tensor, features: int) -> Tree:
    """The tree of `feature` (N,), `LEAF` at a leaf, and of the `thresholds` of its splits, in their order.

    The numbers may come from anywhere: raises UsageError unless they are one tree, at most `DEEPEST` deep, whose splits
    read one of `features` features.
    """
    numbers = feature.tolist()
    splits = [number != LEAF for number in numbers]
    if 2 * sum(splits) + 1 != len(numbers) or len(thresholds) != sum(splits):
        raise UsageError("the generator has a tree whose splits and leaves do not fit together")
    if any(number >= features for number, is_split in zip(numbers, splits, strict=True) if is_split):
        raise UsageError("the generator has a tree that reads a column after its own")
    right = [0] * len(numbers)
    vacant = list[tuple[int, int]]()  # splits whose right child is still to come, with its depth
    deepest = leaf = depth = 0
    for node, is_split in enumerate(splits):
        deepest = max(deepest, depth)
        if is_split:
            depth = depth + 1
            vacant.append((node, depth))
            continue
        right[node] = leaf
        leaf = leaf + 1
        if vacant:
            parent, depth = vacant.pop()
            right[parent] = node + 1
        elif node + 1 < len(splits):
            raise UsageError("the generator has a tree whose splits and leaves do not fit together")
    if deepest > DEEPEST:
        raise UsageError(f"the generator has a tree of depth {deepest}: at most {DEEPEST}")
    at = torch.tensor(splits)
    threshold = torch.zeros(len(numbers))
    threshold[at] = thresholds
    return Tree(torch.where(at, feature, -1), threshold, torch.tensor(right), deepest)


def grow(inputs: Floats, targets: Floats, seed: int) -> tuple[Tensor, Tensor]:
    """(feature int64 (N,), `LEAF` at a leaf; thresholds float32) of a regression tree for `targets` (n, outputs).

    On one-hot targets its criterion, the sum of variances, is the Gini impurity. Each leaf has at least `LEAST` rows.
    """
    from sklearn.tree import DecisionTreeRegressor

    grown: Any = DecisionTreeRegressor(min_samples_leaf=LEAST, max_depth=DEEPEST, random_state=seed % 2**32)
    tree = grown.fit(inputs, targets).tree_
    order = _preorder(tree.children_left, tree.children_right)
    is_leaf = tree.children_left[order] < 0
    feature = np.where(is_leaf, LEAF, tree.feature[order])
    exact = tree.threshold[order][~is_leaf]
    rounded = exact.astype(np.float32)  # down: then a float32 number lies on the same side as of the exact threshold
    rounded = np.where(rounded > exact, np.nextafter(rounded, np.float32(-np.inf)), rounded)
    return torch.from_numpy(feature.astype(np.int64)), torch.from_numpy(rounded)


def _preorder(left: npt.NDArray[np.int64], right: npt.NDArray[np.int64]) -> list[int]:
    order = list[int]()
    waiting = [0]
    while waiting:
        node = waiting.pop()
        order.append(node)
        if left[node] >= 0:
            waiting += [int(right[node]), int(left[node])]
    return order


def to_bytes(feature: Tensor) -> Tensor:
    """Features int64 (N,) as uint8 (N, `BYTES`), the lowest byte first."""
    return torch.stack([feature >> (8 * place) & 255 for place in range(BYTES)], 1).to(torch.uint8)


def from_bytes(packed: Tensor) -> Tensor:
    """The inverse of `to_bytes`."""
    places = [packed[:, place].long() << (8 * place) for place in range(BYTES)]
    return torch.stack(places).sum(0)
