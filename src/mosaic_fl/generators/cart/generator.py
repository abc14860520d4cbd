"""The generator: a tree a column, each with the summaries of its leaves; its state and its draws."""

import math
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from typing import Self

import torch
from torch import Tensor, nn

from mosaic_fl.config import GeneratorConfig
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.table import Column, Table
from mosaic_fl.domains.table.column import NUMBERS
from mosaic_fl.errors import UsageError
from mosaic_fl.generators.base import GeneratorSpec
from mosaic_fl.generators.cart import disclosure, leaves
from mosaic_fl.generators.cart.disclosure import MOST_CODES
from mosaic_fl.generators.cart.grouping import MOST_TREES, groups
from mosaic_fl.generators.cart.trees import BYTES, LEAST, Tree, from_bytes, tree_of
from mosaic_fl.generators.picking import EDGE
from mosaic_fl.generators.rows import RowGenerator, table_of
from mosaic_fl.numerics.states import State

QUANTILES = 9  # of numbers in a leaf
MOST_NODES = 2**20  # of all trees of a received state
USUAL_DEPTH = 12


class Cart(RowGenerator):
    """G groups of classes, each with a tree a column, D of them.

    `group` int64 (C,) is the group of each class, `nodes` int64 (G, D) are the nodes of each tree. Its nodes'
    `feature` uint8 (N, 3), its splits' `threshold` float32 and its leaves' `summary` float32 follow each other, group
    after group. A tree reads the class, one-hot, and the columns before its own in the form of a network. `width` in
    the specification is the number of quantiles. `coded` int64 (D,) says of how many values, its `codes`, a column of
    numbers is; 0 for one whose leaves tell quantiles. The codes of all columns follow each other, float32.
    """

    coded: Tensor
    codes: Tensor
    group: Tensor
    nodes: Tensor
    feature: Tensor
    threshold: Tensor
    summary: Tensor

    def __init__(self, spec: GeneratorSpec, schema: Schema) -> None:
        """One group of trees of a single leaf; raises UsageError for a specification that does not fit the schema."""
        super().__init__(spec, schema)
        table = self.table
        if spec.latent != len(table.columns) or spec.width < 2:
            raise UsageError(
                f"a cart generator of {spec.latent} columns and {spec.width} quantiles, where the schema has "
                f"{len(table.columns)} columns, and 2 quantiles are the least"
            )
        self.columns = [Table((column,)) for column in table.columns]
        self.register_buffer("group", torch.zeros(schema.num_classes, dtype=torch.int64))
        self.code([torch.zeros(0)] * len(self.columns))
        self.resize([[1] * len(self.columns)])

    def code(self, codes: Sequence[Tensor]) -> None:
        """Tell columns by shares of their `codes`, ascending float32 (k,), by column; (0,) where it has none."""
        device = self.group.device
        self.lengths = [len(values) for values in codes]  # beside `coded`: on the meta device that has no values
        self.register_buffer("coded", torch.tensor(self.lengths, device=device))
        self.register_buffer("codes", torch.cat(list(codes)).to(device))

    @property
    def forms(self) -> list[Column]:
        """The columns as leaves tell of them: one with codes as if these were categories."""
        return [
            Column(column.name, "category", tuple(map(str, range(count))), missing=column.missing) if count else column
            for column, count in zip(self.table.columns, self.lengths, strict=True)
        ]

    @property
    def classes(self) -> int:
        """C, the number of classes."""
        return len(self.group)

    @property
    def sizes(self) -> list[int]:
        """How many numbers say what a leaf holds, by column."""
        return [leaves.size(form, self.spec.width) for form in self.forms]

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
        nodes = state.get("nodes")
        if nodes is None or nodes.ndim != 2 or nodes.shape[1] != len(self.columns) or nodes.dtype != torch.int64:
            return self  # the check of shapes says so
        self._make_room(state.get("coded"))
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

    def _make_room(self, coded: Tensor | None) -> None:
        """Room for the codes of columns that have `coded` of them, which may come from anywhere."""
        if coded is None or coded.shape != self.coded.shape or coded.dtype != torch.int64:
            return
        for column, count in zip(self.table.columns, coded.tolist(), strict=True):
            if not 0 <= count <= (MOST_CODES if column.type in NUMBERS else 0):
                raise UsageError(
                    f"the generator's column {column.name!r} has {count} codes: 0..{MOST_CODES} of numbers, 0 of others"
                )
        self.code([torch.zeros(count) for count in coded.tolist()])

    def expect(self, counts: Sequence[int]) -> Self:
        """As `Generator.expect`: as many leaves as the rows can fill, and whole numbers with as many codes."""
        rows = torch.tensor(list(counts), dtype=torch.int64, device="cpu")  # sizes are planned on the meta device
        most = min(MOST_CODES, sum(counts) // LEAST)
        self.code([torch.zeros(most * (column.type == "whole")) for column in self.table.columns])
        sums = torch.bincount(groups(rows, len(self.columns)), weights=rows.double()).long().tolist()
        self.resize([[2 * max(1, rows // LEAST) - 1] * len(self.columns) for rows in sums])
        return self

    def check(self) -> None:
        """As `Generator.check`: for nodes that are no tree, and leaves that cannot be."""
        if bool((self.group < 0).any()) or bool((self.group >= len(self.nodes)).any()):
            raise UsageError("the generator has a class without trees")
        for trees in self.trees:
            for form, (_, summary) in zip(self.forms, trees, strict=True):
                leaves.check(summary, form)
        for column, codes in zip(self.table.columns, self.codes.split(self.lengths), strict=True):
            disclosure.check_codes(codes, column)

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
        codes = self.codes.cpu().split(self.lengths)
        forms = self.forms
        for place, (column, (tree, summary)) in enumerate(zip(self.columns, trees, strict=True)):
            told = leaves.draw(summary[tree.leaf_of(inputs)], u[:, place], forms[place])
            values[:, place] = disclosure.decode(told, codes[place]) if len(codes[place]) else told
            inputs[:, end : end + column.shape[0]] = column.to_network(values[:, place : place + 1])
            end = end + column.shape[0]
        return values

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


def spec(config: GeneratorConfig, schema: Schema) -> GeneratorSpec:
    """As many latents as columns, and `QUANTILES` for the width."""
    return GeneratorSpec("cart", len(table_of("cart", schema).columns), QUANTILES)


def upgrade(state: State) -> State:
    """The state of an earlier version, none of whose columns has codes, in the form of today."""
    nodes = state.get("nodes")
    if nodes is None or nodes.ndim != 2 or not {"coded", "codes"}.isdisjoint(state):
        return state
    return {**state, "coded": torch.zeros(nodes.shape[1], dtype=torch.int64), "codes": torch.zeros(0)}
