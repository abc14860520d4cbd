"""A client's part in federated boosting: sums of gradients over bins, or trees of its own, on private rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mosaic_fl.config import BoostingConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.federation import HIGHEST_LOSS, UNITS
from mosaic_fl.experts import boosted
from mosaic_fl.experts.bins import bins_of
from mosaic_fl.experts.boosted import HEAD, BoostedTrees, rows_of
from mosaic_fl.experts.ensemble import between
from mosaic_fl.numerics.randomness import Stream

MAX_CELLS = 2**26  # nodes times bins
LEAST_CURVATURE = {True: 1e-16, False: 1e-6}  # XGBoost's, of two classes and of more


@dataclass
class Margins:
    """Rows, and what the first `count` trees of an ensemble say of them: float64 (n, C), up to a constant a row.

    Trees add up one after the other, so the sums do not depend on how many came at a time.
    """

    data: Dataset
    inputs: Tensor = field(init=False)
    values: Tensor = field(init=False)
    trees: BoostedTrees | None = None
    _codes: tuple[int, Tensor] | None = None

    def __post_init__(self) -> None:
        self.inputs = rows_of(self.data.samples.to("cpu")) if len(self.data) else torch.zeros(0, 1)
        self.values = torch.zeros(len(self.data), self.data.schema.num_classes, dtype=torch.float64)

    def advance(self, trees: BoostedTrees) -> None:
        """Make the values those of `trees`, of which only those are looked at that are new."""
        before = self.trees
        first = 0
        if before is not None and _begins(trees, before):
            first = len(before.roots)
        else:
            self.values.zero_()
        for number in range(first, len(trees.roots)):
            tree = between(trees, number, number + 1)
            self.values[:, int(tree.outputs)] += tree.value[tree.leaves(self.inputs)[:, 0]].double()
        self.trees = trees

    def codes(self, most: int) -> Tensor:
        """The bins of the rows, as `Bins.codes`; `most` is the number of bins of a number."""
        if self._codes is None or self._codes[0] != most:
            self._codes = most, bins_of(self.data.schema, most).codes(self.inputs)
        return self._codes[1]

    @property
    def loss(self) -> float:
        """The mean log-loss in nats; 0 without rows."""
        if not len(self.data):
            return 0.0
        each = F.cross_entropy(self.values, self.data.labels, reduction="none").clamp(max=HIGHEST_LOSS)
        return float(each.mean())


def _begins(trees: BoostedTrees, before: BoostedTrees) -> bool:
    """Whether the trees `before` are the first ones of `trees`."""
    count = len(before.feature)
    return (
        len(before.roots) <= len(trees.roots)
        and torch.equal(before.roots, trees.roots[: len(before.roots)])
        and torch.equal(before.outputs, trees.outputs[: len(before.roots)])
        and torch.equal(before.feature, trees.feature[:count])
        and torch.equal(before.value, trees.value[:count])
        and torch.equal(before.left, trees.left[:count])
        and torch.equal(before.right, trees.right[:count])
    )


def gradients(margins: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """First and second derivatives of the log-loss, float64 (n, C) each, as XGBoost has them.

    Of two classes only those of the second are used, whose margin alone the trees change; of more the second derivative
    is 2·p·(1 − p), the bound that makes all classes' trees of a round one step.
    """
    binary = margins.shape[1] == 2
    chances = margins.softmax(1)
    first = chances - F.one_hot(labels, margins.shape[1])
    second = (chances * (1 - chances) * (1 if binary else 2)).clamp(min=LEAST_CURVATURE[binary])
    return first, second


def gradient_sums(margins: Margins, growing: BoostedTrees, nodes: Tensor, most: int) -> Tensor:
    """Sums of both derivatives over the rows in each of M `nodes` and in each bin: int64 (M, bins, 2).

    `nodes` are open leaves of the trees that are `growing`; `most` is the number of bins of a number. The derivatives
    are whole numbers of 1/`UNITS`, so that sums are exact, and those of all clients are the sums of all rows.
    """
    bins = bins_of(margins.data.schema, most)
    _check_nodes(growing, nodes, bins.total)
    codes = margins.codes(most)
    units = [(UNITS * part).round().long() for part in gradients(margins.values, margins.data.labels)]
    slots = torch.full((len(growing.feature),), -1)
    slots[nodes] = torch.arange(len(nodes))
    sums = torch.zeros(len(nodes) * bins.total, 2, dtype=torch.int64)
    places = slots[growing.leaves(margins.inputs)]
    for tree, output in enumerate(growing.outputs.tolist()):
        rows = (places[:, tree] >= 0).nonzero().flatten()
        cells = (places[rows, tree] * bins.total)[:, None] + codes[rows]
        for order, part in enumerate(units):
            values = part[rows, output][:, None].expand_as(cells)
            sums[:, order].index_add_(0, cells.flatten(), values.flatten())
    return sums.view(len(nodes), bins.total, 2)


def _check_nodes(growing: BoostedTrees, nodes: Tensor, bins: int) -> None:
    """Raise UsageError unless `nodes` are different leaves, and so few that their sums are small."""
    count = len(growing.feature)
    if nodes.dtype != torch.int64 or nodes.ndim != 1 or len(nodes.unique()) != len(nodes) or not len(nodes):
        raise UsageError("request: the nodes of its sums are not a list of different numbers")
    if int(nodes.min()) < 0 or int(nodes.max()) >= count or bool((growing.left[nodes] != nodes).any()):
        raise UsageError("request: the nodes of its sums are no leaves of its trees")
    if len(nodes) * bins > MAX_CELLS:
        raise UsageError(f"request: sums of {len(nodes):,} nodes and {bins:,} bins: at most {MAX_CELLS:,} are made")


def grow(margins: Margins, settings: Mapping[str, Any], stream: Stream) -> BoostedTrees:
    """One more tree a class (one alone of two classes) on a sample of the rows and columns, by XGBoost.

    It starts from the margins; the ensemble that was received never goes to XGBoost, which trusts its numbers.
    """
    import xgboost

    config = BoostingConfig().model_copy(update=dict(settings))
    schema = margins.data.schema
    binary = schema.num_classes == 2
    start = margins.values[:, 1] if binary else margins.values
    data = xgboost.DMatrix(margins.inputs.numpy(), label=margins.data.labels.numpy(), base_margin=start.float().numpy())
    words: dict[str, Any] = {
        "eta": config.rate, "max_depth": config.depth, "lambda": config.l2, "min_child_weight": config.least_weight,
        "subsample": config.rows, "colsample_bytree": config.columns, "tree_method": "hist", "nthread": 1,
        "seed": stream.integer() % 2**31, "base_score": 0.5 if binary else 0.0,
        "objective": "binary:logistic" if binary else "multi:softprob",
    }  # fmt: skip
    words |= {} if binary else {"num_class": schema.num_classes}
    booster = xgboost.train(words, data, 1)
    return boosted.load(HEAD, schema, boosted.state_of(bytes(booster.save_raw("json"))), "a tree of this client")
