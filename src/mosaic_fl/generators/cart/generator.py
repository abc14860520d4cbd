"""The generator: a tree a column, each with the summaries of its leaves; its state, its fit, its draws."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
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
from mosaic_fl.generators.cart import leaves
from mosaic_fl.generators.cart.trees import BYTES, LEAST, Tree, from_bytes, grow, to_bytes, tree_of
from mosaic_fl.generators.family import Family
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State
from mosaic_fl.training.monitor import Monitor

QUANTILES = 5  # of numbers in a leaf
MOST_NODES = 2**20  # of all trees of a received state
EDGE = 1e-6  # distance of a uniform number from 0 and 1
USUAL_DEPTH = 12


class Cart(Generator):
    """Trees of D columns: `nodes` int64 (D,) nodes a tree, `feature` uint8 (N, 3), `threshold` float32 (splits,).

    `summary` float32 (S,) are the summaries of all leaves, tree after tree. A tree reads the class, one-hot, and the
    columns before its own in the form of a network. `width` in the specification is the number of quantiles.
    """

    conditional = True
    nodes: Tensor
    feature: Tensor
    threshold: Tensor
    summary: Tensor

    def __init__(self, spec: GeneratorSpec, schema: Schema) -> None:
        """Trees of a single leaf; raises UsageError for a specification that does not fit the schema."""
        super().__init__()
        table = _table(schema)
        if spec.latent != len(table.columns) or spec.width < 2:
            raise UsageError(
                f"a cart generator of {spec.latent} columns and {spec.width} quantiles, where the schema has "
                f"{len(table.columns)} columns, and 2 quantiles are the least"
            )
        self.spec = spec
        self.classes = schema.num_classes
        self.columns = [Table((column,)) for column in table.columns]
        self.table = table
        self.register_buffer("nodes", torch.ones(len(self.columns), dtype=torch.int64))
        self._resize([1] * len(self.columns))

    @property
    def sizes(self) -> list[int]:
        """How many numbers say what a leaf holds, by column."""
        return [leaves.size(column, self.spec.width) for column in self.table.columns]

    def _resize(self, counts: Sequence[int]) -> None:
        """Make room for trees of so many nodes."""
        splits = sum(count // 2 for count in counts)
        numbers = sum((count + 1) // 2 * size for count, size in zip(counts, self.sizes, strict=True))
        device = self.nodes.device
        self.register_buffer("feature", torch.full((sum(counts), BYTES), 255, dtype=torch.uint8, device=device))
        self.register_buffer("threshold", torch.zeros(splits, device=device))
        self.register_buffer("summary", torch.zeros(numbers, device=device))

    def fit_to(self, state: State) -> Self:
        """As `Generator.fit_to`; raises UsageError for trees that are too large, or for numbers that are no trees."""
        nodes = state.get("nodes", self.nodes)
        if nodes.shape != self.nodes.shape or nodes.dtype != torch.int64:
            return self  # the check of shapes says so
        if bool((nodes < 1).any()) or bool((nodes % 2 == 0).any()) or bool((nodes > MOST_NODES).any()):
            raise UsageError("the generator has a tree whose splits and leaves do not fit together")
        if int(nodes.sum()) > MOST_NODES:
            raise UsageError(f"the generator's trees have {int(nodes.sum()):,} nodes: at most {MOST_NODES:,} are used")
        self._resize(nodes.tolist())
        return self

    def expect(self, counts: Sequence[int]) -> Self:
        """As `Generator.expect`: as many leaves as the rows can fill."""
        self._resize([2 * max(1, sum(counts) // LEAST) - 1] * len(self.columns))
        return self

    def check(self) -> None:
        """As `Generator.check`: for nodes that are no tree, and leaves that cannot be."""
        for column, (_, summary) in zip(self.table.columns, self.trees, strict=True):
            leaves.check(summary, column)

    @cached_property
    def trees(self) -> list[tuple[Tree, Tensor]]:
        """A tree a column and the summaries (leaves, size) of its leaves, on the CPU."""
        features = from_bytes(self.feature.cpu())
        thresholds = self.threshold.cpu()
        numbers = self.summary.cpu()
        result = list[tuple[Tree, Tensor]]()
        readable = self.classes
        node = split = number = 0
        for count, size, column in zip(self.nodes.tolist(), self.sizes, self.table.columns, strict=True):
            tree = tree_of(features[node : node + count], thresholds[split : split + count // 2], readable)
            end = number + tree.leaves * size
            result.append((tree, numbers[number:end].view(-1, size)))
            node = node + count
            split = split + count // 2
            number = end
            readable = readable + column.width
        return result

    def rows(self, z: Tensor, labels: Tensor) -> Tensor:
        """Rows at rest, float32 (n, D), on the CPU: column after column; `z` (n, D) standard normal, `labels` (n,)."""
        u = (0.5 * (1 + torch.erf(z.cpu() / math.sqrt(2)))).clamp(EDGE, 1 - EDGE)
        values = torch.empty(len(z), len(self.columns))
        inputs = torch.zeros(len(z), self.classes + self.table.encoding.width)
        inputs[torch.arange(len(z)), labels.cpu()] = 1.0
        end = self.classes
        for place, (column, (tree, summary)) in enumerate(zip(self.columns, self.trees, strict=True)):
            leaf = tree.leaf_of(inputs)
            values[:, place] = leaves.draw(summary[leaf], u[:, place], column.columns[0])
            inputs[:, end : end + column.shape[0]] = column.to_network(values[:, place : place + 1])
            end = end + column.shape[0]
        return values

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return self.table.to_network(self.rows(z, labels)).to(z.device)

    def samples(self, kinds: Mapping[str, Kind], labels: Tensor, rng: torch.Generator) -> Samples:
        """As `Generator.samples`, without the way through a network's form, which rounds."""
        latents = torch.randn(len(labels), self.spec.latent, generator=rng)
        return Samples(kinds, {next(iter(kinds)): self.rows(latents, labels)})

    def one_pass(self) -> tuple[nn.Module, tuple[Tensor, ...], int]:
        """As `Generator.one_pass`: a step down a tree, `USUAL_DEPTH` of them a column."""
        return (
            _Step(),
            (torch.zeros(2, self.classes + self.table.encoding.width, device=self.device),),
            (USUAL_DEPTH * len(self.columns)),
        )


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
    """The trees of `data`, column after column in the order of the schema, on the CPU in eval mode."""
    from threadpoolctl import threadpool_limits

    cart = Cart(spec(config, data.schema), data.schema)
    values = data.samples.only
    classes = torch.nn.functional.one_hot(data.labels, data.schema.num_classes).float()
    inputs = torch.cat([classes, cart.table.to_network(values)], 1)
    end = data.schema.num_classes
    features = list[Tensor]()
    thresholds = list[Tensor]()
    numbers = list[Tensor]()
    for place, column in enumerate(cart.columns):
        target = inputs[:, end : end + column.shape[0]]
        with threadpool_limits(1):
            feature, threshold = grow(inputs[:, :end].numpy(), target.numpy(), stream.integer() + place)
        tree = tree_of(feature, threshold, end)
        leaf = tree.leaf_of(inputs[:, :end])
        summary = leaves.summarise(values[:, place], leaf, tree.leaves, column.columns[0], cart.spec.width)
        features.append(feature)
        thresholds.append(threshold)
        numbers.append(summary.flatten())
        end = end + column.shape[0]
        monitor.progress(place + 1, len(cart.columns))
    cart.nodes = torch.tensor([len(feature) for feature in features])
    cart.feature = to_bytes(torch.cat(features))
    cart.threshold = torch.cat(thresholds)
    cart.summary = torch.cat(numbers)
    return cart.eval()


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
)
