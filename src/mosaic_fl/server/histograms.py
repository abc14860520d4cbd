"""Trees that grow level by level from sums of gradients over bins, as XGBoost's `hist` does (Chen, Guestrin 2016)."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from mosaic_fl.config import BoostingConfig
from mosaic_fl.experts.bins import Bins
from mosaic_fl.experts.boosted import BoostedTrees
from mosaic_fl.experts.ensemble import joined

LEAST_GAIN = 1e-6  # of a split, as XGBoost's


@dataclass(frozen=True)
class Splits:
    """The best split of each of M nodes: its `gain` (M,), `feature` and `cut` (M,), its sides' sums (M, 2) each.

    Rows whose value is below the cut of this number go left. Where no split is allowed the gain is −∞.
    """

    gain: Tensor
    feature: Tensor
    cut: Tensor
    left: Tensor
    right: Tensor


def best_splits(sums: Tensor, bins: Bins, config: BoostingConfig) -> Splits:
    """Of `sums` (M, bins, 2) of first and second derivatives; the gain is equation 7 of the paper, without its half."""
    sums = sums.double()
    feature = torch.repeat_interleave(torch.arange(len(bins.cuts)), bins.starts.diff())
    running = torch.nn.functional.pad(sums.cumsum(1), (0, 0, 1, 0))
    left = running[:, 1:] - running[:, bins.starts[feature]]
    total = running[:, bins.starts[1]][:, None]
    right = total - left
    allowed = torch.ones(bins.total, dtype=torch.bool)
    allowed[bins.starts[1:] - 1] = False  # all rows are below the end of the last bin
    weight = torch.minimum(left[..., 1], right[..., 1])
    gain = _score(left, config.l2) + _score(right, config.l2) - _score(total, config.l2)
    gain = gain.masked_fill(~allowed | (weight < config.least_weight) | (weight <= 0), -torch.inf)
    best = gain.argmax(1)
    nodes = torch.arange(len(sums))
    return Splits(
        gain[nodes, best], feature[best], best - bins.starts[feature[best]], left[nodes, best], right[nodes, best]
    )


def _score(sums: Tensor, l2: float) -> Tensor:
    """G² / (H + λ); 0 where there are no rows."""
    weight = sums[..., 1] + l2
    return torch.where(weight > 0, sums[..., 0].square() / weight.clamp(min=1e-300), 0.0)


@dataclass
class GrowingTree:
    """One tree that adds to the class `output`: its nodes' values in lists. Leaves are their own children."""

    output: int
    feature: list[int] = field(default_factory=lambda: [0])
    value: list[float] = field(default_factory=lambda: [0.0])
    left: list[int] = field(default_factory=lambda: [0])
    right: list[int] = field(default_factory=lambda: [0])
    open: list[int] = field(default_factory=lambda: [0])
    depth: int = 0

    def add(self, value: float) -> int:
        """A new leaf; returns its number."""
        node = len(self.feature)
        self.feature.append(0)
        self.value.append(value)
        self.left.append(node)
        self.right.append(node)
        return node

    def trees(self, classes: int) -> BoostedTrees:
        """As trees that rows can be looked up in."""
        return BoostedTrees(
            classes,
            torch.tensor([0]),
            torch.tensor([self.output]),
            torch.tensor(self.feature),
            torch.tensor(self.value),
            torch.tensor(self.left),
            torch.tensor(self.right),
            self.depth,
        )


class GrowingTrees:
    """One tree a class (one alone of two classes), whose open leaves may split by the next sums."""

    def __init__(self, classes: int, bins: Bins, config: BoostingConfig) -> None:
        self.classes = classes
        self.bins = bins
        self.config = config
        self.parts = [GrowingTree(output) for output in ([1] if classes == 2 else range(classes))]

    @property
    def trees(self) -> BoostedTrees:
        """The trees so far."""
        return joined([part.trees(self.classes) for part in self.parts])

    @property
    def nodes(self) -> Tensor:
        """The open leaves int64 (M,), by their numbers in `trees`."""
        start = 0
        numbers = list[int]()
        for part in self.parts:
            numbers += [start + node for node in part.open]
            start += len(part.feature)
        return torch.tensor(numbers, dtype=torch.int64)

    def split(self, sums: Tensor) -> None:
        """Split the open leaves by their `sums` (M, bins, 2) in the order of `nodes`; their children are open then."""
        splits = best_splits(sums, self.bins, self.config)
        gains = splits.gain.tolist()
        thresholds = self.bins.cuts[splits.feature, splits.cut].tolist()
        features = splits.feature.tolist()
        values = [self._leaf(side).tolist() for side in (splits.left, splits.right)]
        totals = self._leaf(sums[:, self.bins.starts[0] : self.bins.starts[1]].double().sum(1)).tolist()
        row = 0
        for part in self.parts:
            leaves = part.open
            part.open = []
            for node in leaves:
                part.value[node] = totals[row]
                if gains[row] > LEAST_GAIN:
                    part.feature[node] = features[row]
                    part.value[node] = thresholds[row]
                    part.left[node] = part.add(values[0][row])
                    part.right[node] = part.add(values[1][row])
                    part.open += [part.left[node], part.right[node]]
                row += 1
            part.depth += bool(part.open)

    def _leaf(self, sums: Tensor) -> Tensor:
        """−η · G / (H + λ) of sums (M, 2): equation 5 of the paper; 0 where there are no rows."""
        weight = sums[:, 1] + self.config.l2
        return torch.where(weight > 0, -self.config.rate * sums[:, 0] / weight.clamp(min=1e-300), 0.0)
