"""The generator: a tree a column, each with the summaries of its leaves; its state, its fit, its draws."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Self

import torch
from torch import Tensor, nn

from mosaic_fl.config import GeneratorConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.kind import Kind
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.table import Table
from mosaic_fl.domains.table.kind import MAX_COLUMNS
from mosaic_fl.errors import UsageError
from mosaic_fl.generators.base import Generator, GeneratorSpec
from mosaic_fl.generators.cart import disclosure, leaves
from mosaic_fl.generators.cart.trees import BYTES, LEAST, Tree, from_bytes, grow, to_bytes, tree_of
from mosaic_fl.generators.family import Family
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State
from mosaic_fl.training.monitor import Monitor

QUANTILES = 9  # of numbers in a leaf
OWN_ROWS = 50  # of a class from which on it has trees of its own
MOST_TREES = 4096  # of a state: each costs time and memory however small it is
MOST_NODES = 2**20  # of all trees of a received state
EDGE = 1e-6  # distance of a uniform number from 0 and 1
USUAL_DEPTH = 12
AT_ONCE = 20_000  # rows


class Cart(Generator):
    """G groups of classes, each with a tree a column, D of them.

    `group` int64 (C,) is the group of each class, `nodes` int64 (G, D) are the nodes of each tree. Its nodes'
    `feature` uint8 (N, 3), its splits' `threshold` float32 and its leaves' `summary` float32 follow each other, group
    after group. A tree reads the class, one-hot, and the columns before its own in the form of a network. `width` in
    the specification is the number of quantiles.
    """

    conditional = True
    group: Tensor
    nodes: Tensor
    feature: Tensor
    threshold: Tensor
    summary: Tensor

    def __init__(self, spec: GeneratorSpec, schema: Schema) -> None:
        """One group of trees of a single leaf; raises UsageError for a specification that does not fit the schema."""
        super().__init__()
        table = _table(schema)
        if spec.latent != len(table.columns) or spec.width < 2:
            raise UsageError(
                f"a cart generator of {spec.latent} columns and {spec.width} quantiles, where the schema has "
                f"{len(table.columns)} columns, and 2 quantiles are the least"
            )
        self.spec = spec
        self.table = table
        self.columns = [Table((column,)) for column in table.columns]
        self.register_buffer("group", torch.zeros(schema.num_classes, dtype=torch.int64))
        self.resize([[1] * len(self.columns)])

    @property
    def classes(self) -> int:
        """C, the number of classes."""
        return len(self.group)

    @property
    def sizes(self) -> list[int]:
        """How many numbers say what a leaf holds, by column."""
        return [leaves.size(column, self.spec.width) for column in self.table.columns]

    def resize(self, counts: Sequence[Sequence[int]]) -> None:
        """Make room for groups of trees of so many nodes, whose leaves say nothing yet."""
        nodes = [count for group in counts for count in group]
        device = self.group.device
        self.register_buffer("nodes", torch.tensor(counts, dtype=torch.int64, device=device))
        self.register_buffer("feature", torch.full((sum(nodes), BYTES), 255, dtype=torch.uint8, device=device))
        self.register_buffer("threshold", torch.zeros(sum(count // 2 for count in nodes), device=device))
        self.register_buffer("summary", torch.zeros(self._numbers(counts), device=device))

    def _numbers(self, counts: Sequence[Sequence[int]]) -> int:
        """How many numbers say what the leaves of trees of so many nodes hold."""
        sizes = self.sizes
        leaf_sums = ((count + 1) // 2 * size for group in counts for count, size in zip(group, sizes, strict=True))
        return sum(leaf_sums)

    def fit_to(self, state: State) -> Self:
        """As `Generator.fit_to`; raises UsageError for trees that are too large, or for numbers that are no trees."""
        nodes = state.get("nodes", self.nodes)
        if nodes.ndim != 2 or nodes.shape[1] != len(self.columns) or nodes.dtype != torch.int64:
            return self  # the check of shapes says so
        if not 1 <= len(nodes) <= self.classes:
            raise UsageError(f"the generator has {len(nodes)} groups of trees for {self.classes} classes")
        if nodes.numel() > MOST_TREES:
            raise UsageError(f"the generator has {nodes.numel():,} trees: at most {MOST_TREES:,} are used")
        if bool((nodes < 1).any()) or bool((nodes % 2 == 0).any()) or bool((nodes > MOST_NODES).any()):
            raise UsageError("the generator has a tree whose splits and leaves do not fit together")
        if int(nodes.sum()) > MOST_NODES:
            raise UsageError(f"the generator's trees have {int(nodes.sum()):,} nodes: at most {MOST_NODES:,} are used")
        counts = nodes.tolist()
        if "summary" in state and state["summary"].numel() != self._numbers(counts):  # no room beyond the file's size
            raise UsageError(
                f"the generator has leaves of {state['summary'].numel():,} numbers where its trees need "
                f"{self._numbers(counts):,}"
            )
        self.resize(counts)
        return self

    def expect(self, counts: Sequence[int]) -> Self:
        """As `Generator.expect`: as many leaves as the rows can fill."""
        with torch.device("cpu"):  # a forecast builds generators where tensors have no values
            rows = torch.tensor(list(counts), dtype=torch.int64)
            sums = torch.bincount(_groups(rows, len(self.columns)), weights=rows.double()).long().tolist()
        self.resize([[2 * max(1, rows // LEAST) - 1] * len(self.columns) for rows in sums])
        return self

    def check(self) -> None:
        """As `Generator.check`: for nodes that are no tree, and leaves that cannot be."""
        if bool((self.group < 0).any()) or bool((self.group >= len(self.nodes)).any()):
            raise UsageError("the generator has a class without trees")
        for trees in self.trees:
            for column, (_, summary) in zip(self.table.columns, trees, strict=True):
                leaves.check(summary, column)

    @cached_property
    def trees(self) -> list[list[tuple[Tree, Tensor]]]:
        """By group: a tree a column and the summaries (leaves, size) of its leaves, on the CPU."""
        nodes = self.nodes.flatten().tolist()
        features = from_bytes(self.feature.cpu()).split(nodes)
        thresholds = self.threshold.cpu().split([count // 2 for count in nodes])
        sizes = self.sizes * len(self.nodes)
        numbers = self.summary.cpu().split([(count + 1) // 2 * size for count, size in zip(nodes, sizes, strict=True)])
        starts = list(accumulate((column.width for column in self.table.columns[:-1]), initial=self.classes))
        readable = starts * len(self.nodes)
        trees = [
            (tree_of(feature, threshold, before), summary.view(-1, size))
            for feature, threshold, summary, before, size in zip(
                features, thresholds, numbers, readable, sizes, strict=True
            )
        ]
        return [trees[start : start + len(starts)] for start in range(0, len(trees), len(starts))]

    def rows(self, z: Tensor, labels: Tensor) -> Tensor:
        """Rows at rest, float32 (n, D), on the CPU; `z` (n, D) standard normal, `labels` (n,)."""
        u = (0.5 * (1 + torch.erf(z.cpu() / math.sqrt(2)))).clamp(EDGE, 1 - EDGE)
        classes = labels.cpu()
        groups = self.group.cpu()[classes]
        values = torch.empty(len(z), len(self.columns))
        for number, trees in enumerate(self.trees):
            mine = (groups == number).nonzero().flatten()
            if len(mine):
                values[mine] = self._draw(trees, u[mine], classes[mine])
        return values

    def _draw(self, trees: Sequence[tuple[Tree, Tensor]], u: Tensor, classes: Tensor) -> Tensor:
        """Rows at rest of one group, column after column, for uniform numbers `u` (n, D) in 0..1."""
        values = torch.empty_like(u)
        inputs = torch.zeros(len(u), self.classes + self.table.encoding.width)
        inputs[torch.arange(len(u)), classes] = 1.0
        end = self.classes
        for place, (column, (tree, summary)) in enumerate(zip(self.columns, trees, strict=True)):
            values[:, place] = leaves.draw(summary[tree.leaf_of(inputs)], u[:, place], column.columns[0])
            inputs[:, end : end + column.shape[0]] = column.to_network(values[:, place : place + 1])
            end = end + column.shape[0]
        return values

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return self.table.to_network(self.rows(z, labels)).to(z.device)

    def samples(self, kinds: Mapping[str, Kind], labels: Tensor, rng: torch.Generator) -> Samples:
        """As `Generator.samples`, without the way through a network's form, which rounds."""
        parts = [
            self.rows(torch.randn(len(part), self.spec.latent, generator=rng), part) for part in labels.split(AT_ONCE)
        ]
        return Samples(kinds, {next(iter(kinds)): torch.cat(parts)})

    def one_pass(self) -> tuple[nn.Module, tuple[Tensor, ...], int]:
        """As `Generator.one_pass`: a step down a tree, `USUAL_DEPTH` of them a column."""
        inputs = torch.zeros(2, self.classes + self.table.encoding.width, device=self.device)
        return _Step(), (inputs,), USUAL_DEPTH * len(self.columns)


class _Step(nn.Module):
    """The operations of a step of `Tree.leaf_of`."""

    def forward(self, inputs: Tensor) -> Tensor:
        node = torch.zeros(len(inputs), dtype=torch.int64, device=inputs.device)
        goes_left = inputs.gather(1, node[:, None]).flatten() <= 0
        return torch.where(goes_left, node + 1, node)


def train(
    data: Dataset,
    expert: nn.Module | None,
    config: GeneratorConfig,
    stream: Stream,
    device: torch.device,
    monitor: Monitor,
) -> Cart:
    """The trees of `data`, column after column in the order of the schema, on the CPU in eval mode.

    A class with enough rows has trees of its own, so that nothing of what tells it apart is lost to a split that was
    worth more elsewhere.
    """
    from threadpoolctl import threadpool_limits

    cart = Cart(spec(config, data.schema), data.schema)
    values = data.samples.only
    labels = data.labels
    if len(data) < LEAST:  # too few to tell anything of
        values = disclosure.public_rows(cart.table.columns)
        labels = torch.zeros(LEAST, dtype=torch.int64)
    else:
        columns = zip(values.T, cart.table.columns, strict=True)
        values = torch.stack([disclosure.coarsen(column, of) for column, of in columns], 1)
    classes = torch.nn.functional.one_hot(labels, cart.classes).float()
    inputs = torch.cat([classes, cart.table.to_network(values)], 1)
    cart.group = _groups(torch.bincount(labels, minlength=cart.classes), len(cart.columns))
    groups = cart.group[labels]
    parts = list[tuple[Tensor, Tensor, Tensor]]()
    total = int(cart.group.max()) + 1
    for number in range(total):
        mine = groups == number
        with threadpool_limits(1):
            parts += _grow(cart, values[mine], inputs[mine], stream.integer() + number)
        monitor.progress(number + 1, total)
    features, thresholds, numbers = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    cart.nodes = torch.tensor([len(feature) for feature, _, _ in parts]).view(total, -1)
    cart.feature = to_bytes(features)
    cart.threshold = thresholds
    cart.summary = numbers
    return cart.eval()


def _groups(counts: Tensor, columns: int) -> Tensor:
    """The group of each class, int64 (C,), by its rows: a class of `OWN_ROWS` has its own; all others share the first.

    Where these have fewer than `LEAST` rows together, they are in the group of the class with the most rows. There is
    no shared group where no class with rows needs it; classes without rows are then in the first. Where there were
    more than `MOST_TREES` trees of as many `columns`, the classes with the most rows have trees of their own.
    """
    own = counts >= OWN_ROWS
    most = max(1, MOST_TREES // columns)
    if int(own.sum()) + bool(counts[~own].any()) > most:
        first = counts.argsort(descending=True, stable=True)[: most - 1]
        own = torch.zeros_like(own).index_fill(0, first, True)
    few = int(counts[~own].sum())
    shared = few >= LEAST or not bool(own.any())
    group = torch.where(own, own.cumsum(0) - 1 + shared, 0)
    if not shared:
        group[~own & (counts > 0)] = group[counts.argmax()]
    return group


def _grow(cart: Cart, values: Tensor, inputs: Tensor, seed: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """By column (feature, thresholds, summaries) of the trees of rows at rest `values`, in the form of `inputs`."""
    result = list[tuple[Tensor, Tensor, Tensor]]()
    end = cart.classes
    for place, column in enumerate(cart.columns):
        before = inputs[:, :end]
        end = end + column.shape[0]
        feature, threshold = grow(before.numpy(), inputs[:, end - column.shape[0] : end].numpy(), seed)
        tree = tree_of(feature, threshold, before.shape[1])
        leaf = tree.leaf_of(before)
        summary = leaves.summarise(values[:, place], leaf, tree.leaves, column.columns[0], cart.spec.width)
        result.append((feature, threshold, summary.flatten()))
    return result


def spec(config: GeneratorConfig, schema: Schema) -> GeneratorSpec:
    """As many latents as columns, and `QUANTILES` for the width."""
    return GeneratorSpec("cart", len(_table(schema).columns), QUANTILES)


def _table(schema: Schema) -> Table:
    kind = schema.kind
    if not isinstance(kind, Table):
        raise UsageError(f"generator cart draws tables, not {kind.summary}")
    return kind


FAMILY = Family(
    conditional=True,
    kinds=frozenset({"table"}),
    build=Cart,
    train=train,
    max_latent=MAX_COLUMNS,
    spec=spec,
    has_steps=False,
)
