"""Partitions: one data set -> one shard per client, by the methods of docs/method.md (splits).

All are implemented here. The partitioners of `flwr-datasets` (version 0.6.1; digits and MNIST, α = 0.01 and 0.1)
- cut a class at its truncated cumulative shares, which leaves the last client one stray sample of every
  second to fourth class, even when it is full: "who holds which class" is wrong;
- divide 0 by 0 where every client that wants a class is full: the whole class goes to the last client, and
  `InnerDirichletPartitioner` fails (11 of 20 draws on digits, 4 of 5 on MNIST, at α = 0.01);
- take 10 ms a draw on MNIST (2 s for `InnerDirichletPartitioner`) where a vectorised one takes 0.2 ms: a
  thousand draws may be needed;
- can leave classes out although the clients have places for all (`PathologicalPartitioner`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mosaic_fl.config import PartitionConfig
from mosaic_fl.data.client_fields import client_fields, with_own_fields
from mosaic_fl.data.column_split import column_indices
from mosaic_fl.domains.dataset import Dataset, image_dataset
from mosaic_fl.errors import UsageError
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.registries import PARTITIONS

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Partition:
    """A method to divide data among clients.

    `draw(labels, classes, config, seed)` gives the rows of each client, one int64 array a client; `check(n,
    classes, config)` raises UsageError where no draw of n samples could meet the configuration. `uses_alpha` says
    whether `partition.alpha` has an effect. `change`, if any, alters the samples of a client.
    """

    draw: Callable[[Indices, int, PartitionConfig, int], list[Indices]]
    uses_alpha: bool = True
    check: Callable[[int, int, PartitionConfig], None] | None = None
    change: Callable[[Dataset, int, PartitionConfig, int], Dataset] | None = None


def partition(
    train: Dataset, config: PartitionConfig, seed: int, column: npt.NDArray[Any] | None = None
) -> list[Dataset]:
    """One shard per client, every one with at least one sample; the same seed gives the same shards.

    `column` holds the values (n,) that divide the clients of the split `by_column`: see `column_split`. Every sample
    goes to exactly one client, except that `pathological` leaves classes out when clients · classes_per_client <
    classes. `config.fields` says which fields each client has; samples that have none of them are left out. Raises
    UsageError as `partition_indices` does.
    """
    fields = client_fields(config, train.schema)
    shards = _shards(train, config, seed, column)
    if not fields:
        return shards
    return [with_own_fields(shard, client, fields[client % len(fields)]) for client, shard in enumerate(shards)]


def _shards(train: Dataset, config: PartitionConfig, seed: int, column: npt.NDArray[Any] | None) -> list[Dataset]:
    """One shard per client, with all fields."""
    if column is not None:
        if config.split != "by_column":
            raise UsageError(f"data.split_column divides the clients: partition.split is by_column, not {config.split}")
        return [train.subset(index) for index in column_indices(column, config)]
    indices = partition_indices(train.labels.numpy(), train.schema.num_classes, config, seed)
    shards = [train.subset(index) for index in indices]
    change = PARTITIONS[config.split].change
    if change is None:
        return shards
    return [change(shard, client, config, seed) for client, shard in enumerate(shards)]


def partition_indices(labels: Indices, classes: int, config: PartitionConfig, seed: int) -> list[Indices]:
    """The rows of each client, in random order: one int64 array per client.

    `labels` is int64 (n,) in 0..classes−1. Raises UsageError, before any work, where the configuration cannot
    be met (more clients than samples, …), and after `config.retries` draws where chance did not meet it.
    """
    if config.clients > len(labels):
        raise UsageError(
            f"{config.clients} clients cannot share {len(labels)} samples: partition.clients must be at most "
            f"{len(labels)}"
        )
    method = PARTITIONS[config.split]
    if method.check is not None:
        method.check(len(labels), classes, config)
    return method.draw(labels, classes, config, seed)


def class_table(shards: Sequence[Dataset]) -> Tensor:
    """The number of samples of each class at each client: int64 (clients, classes)."""
    return torch.stack([shard.class_counts() for shard in shards])


def _require_least(n: int, classes: int, config: PartitionConfig) -> None:
    """Raise UsageError where there are too few samples for `min_samples` at each client."""
    clients = config.clients
    least = config.min_samples
    if clients * least > n:
        raise UsageError(
            f"{clients} clients with at least {least} sample{'s' * (least != 1)} each need {clients * least}, there "
            f"are {n}: lower partition.clients or partition.min_samples"
        )


def _require_classes(n: int, classes: int, config: PartitionConfig) -> None:
    """Raise UsageError where `classes_per_client` is greater than the number of classes."""
    if config.classes_per_client > classes:
        raise UsageError(
            f"partition.classes_per_client is {config.classes_per_client}, but there are {classes} classes"
        )


def _iid(labels: Indices, classes: int, config: PartitionConfig, seed: int) -> list[Indices]:
    """Random samples in shards of equal size (they differ by one at most)."""
    return np.array_split(Stream(seed, "partition-rows").numpy().permutation(len(labels)), config.clients)


def _quantity_skew(labels: Indices, classes: int, config: PartitionConfig, seed: int) -> list[Indices]:
    """Sizes ~ Dirichlet(α) over an iid shuffle (Li et al. 2022, NIID-Bench, "quantity skew")."""
    n = len(labels)

    def draw(rng: np.random.Generator) -> Indices:
        return _cut(rng.dirichlet(np.full(config.clients, config.alpha)), n)

    sizes = _first_valid(draw, lambda sizes: int(sizes.min()) >= config.min_samples, config, seed)
    return np.split(Stream(seed, "partition-rows").numpy().permutation(n), np.cumsum(sizes)[:-1])


def _dirichlet_per_class(labels: Indices, classes: int, config: PartitionConfig, seed: int) -> Indices:
    """(clients, classes) counts: each class is divided by its own Dirichlet(α) draw over the clients.

    `niid_bench` is the rule of Yurochkin et al. 2019 and NIID-Bench (Li et al. 2022): a client that already
    has n/K samples gets none of the later classes, and each client has at least `min_samples`.
    `dirichlet_per_class` has no such cap, and each client has at least one sample.
    """
    K = config.clients
    counts = np.bincount(labels, minlength=classes)
    has_cap = config.split == "niid_bench"
    least = config.min_samples if has_cap else 1

    def draw(rng: np.random.Generator) -> Indices:
        shares = rng.dirichlet(np.full(K, config.alpha), size=classes)
        table = np.zeros((K, classes), np.int64)
        for c in range(classes):
            weights = shares[c] * (table.sum(axis=1) * K < len(labels)) if has_cap else shares[c]
            if not weights.sum() > 0:  # all clients with a share of this class are full: an invalid draw
                return np.zeros_like(table)
            table[:, c] = _cut(weights / weights.sum(), counts[c])
        return table

    return _first_valid(draw, lambda table: int(table.sum(axis=1).min()) >= least, config, seed)


def _equal_size_prior(labels: Indices, classes: int, config: PartitionConfig, seed: int) -> Indices:
    """(clients, classes) counts: equal sizes, each client filled from a Dirichlet(α) class prior of its own.

    The rule of Acar et al. 2021 (FedDyn) and Co-Boosting (Dai et al. 2024): a client whose draw falls on an
    exhausted class draws again among the others. Here all clients draw at once, so this takes at most
    classes + 1 passes; a client whose prior has only exhausted classes draws from the remaining samples.
    """
    rng = Stream(seed, "partition").numpy()
    stock = np.bincount(labels, minlength=classes)
    priors = rng.dirichlet(np.full(classes, config.alpha), size=config.clients)
    need = np.full(config.clients, len(labels) // config.clients)
    need[: len(labels) % config.clients] += 1
    table = np.zeros((config.clients, classes), np.int64)
    while need.any():
        weights = priors * (stock > 0)
        weights[weights.sum(axis=1) == 0] = stock
        draws = rng.multinomial(need, weights / weights.sum(axis=1, keepdims=True))
        for c in np.flatnonzero(draws.sum(axis=0) > stock):
            draws[:, c] = rng.multivariate_hypergeometric(draws[:, c], stock[c])
        table += draws
        stock = stock - draws.sum(axis=0)
        need = need - draws.sum(axis=1)
    return table


def _pathological(labels: Indices, classes: int, config: PartitionConfig, seed: int) -> Indices:
    """(clients, classes) counts: each client has `classes_per_client` classes, each class split evenly.

    Each client takes the classes that the fewest earlier clients have taken, with ties broken at random. So
    classes are left out only where there are more of them than clients · classes_per_client.
    """
    rng = Stream(seed, "partition").numpy()
    holds = np.zeros((config.clients, classes), np.bool_)
    for client in range(config.clients):
        order = np.lexsort((rng.random(classes), holds.sum(axis=0)))
        holds[client, order[: config.classes_per_client]] = True
    counts = np.bincount(labels, minlength=classes)
    holders = holds.sum(axis=0)
    short = np.flatnonzero(counts < holders)
    if len(short):
        c = int(short[0])
        raise UsageError(
            f"class {c} has {counts[c]} samples for the {holders[c]} clients that should hold it: "
            "lower partition.clients or partition.classes_per_client"
        )
    rank = np.cumsum(holds, axis=0) - 1  # of a class's holders, the first `remainder` get one more
    share, remainder = np.divmod(counts, np.maximum(holders, 1))
    return np.where(holds, share + (rank < remainder), 0)


def _first_valid(
    draw: Callable[[np.random.Generator], Indices],
    accepts: Callable[[Indices], bool],
    config: PartitionConfig,
    seed: int,
) -> Indices:
    """The first of at most `config.retries` draws that `accepts` allows, each from its own stream."""
    for attempt in range(config.retries):
        result = draw(Stream(seed, "partition", round=attempt).numpy())
        if accepts(result):
            return result
    no_cap = config.split == "dirichlet_per_class"
    least, remedy = (1, "") if no_cap else (config.min_samples, " or partition.min_samples")
    raise UsageError(
        f"the split {config.split} at alpha {config.alpha:g} did not give each of {config.clients} clients "
        f"at least {least} sample{'s' * (least != 1)} in {config.retries} draws: raise partition.alpha or "
        f"partition.retries, or lower partition.clients{remedy}"
    )


def _cut(shares: npt.NDArray[np.float64], n: int) -> Indices:
    """n samples divided by shares that sum to one: whole numbers that sum to n, each within one of its share."""
    ends = np.rint(np.cumsum(shares) * n).astype(np.int64)
    ends[-1] = n
    return np.diff(ends, prepend=0)


def _deal(labels: Indices, table: Indices, seed: int) -> list[Indices]:
    """Each client's rows for a (clients, classes) table of counts: random rows of each class, in random order."""
    rng = Stream(seed, "partition-rows").numpy()
    parts: list[list[Indices]] = [[] for _ in table]
    for c in range(table.shape[1]):
        rows = rng.permutation(np.flatnonzero(labels == c))
        for client, part in enumerate(np.split(rows, np.cumsum(table[:, c]))[:-1]):
            parts[client].append(part)
    return [rng.permutation(np.concatenate(part)) for part in parts]


def _with_noise(shard: Dataset, client: int, config: PartitionConfig, seed: int) -> Dataset:
    """The same samples with Gaussian noise, in units of a network's input, that grows with the client's number."""
    if len(shard.schema.fields) > 1:
        count = len(shard.schema.fields)
        raise UsageError(f"feature_skew adds noise to samples of one field, not of {count}: choose another split")
    kind = shard.schema.kind
    values = shard.samples.only
    noise = torch.randn(values.shape, generator=Stream(seed, "partition-noise", client).torch())
    noise.mul_(config.noise * (client + 1) / config.clients)
    return image_dataset(kind.to_rest(kind.to_network(values).add_(noise)), shard.labels, shard.schema)


def _by_column(labels: Indices, classes: int, config: PartitionConfig, seed: int) -> list[Indices]:
    raise UsageError("the split by_column needs a column of a table: say --split-column NAME (data.split_column)")


Table = Callable[[Indices, int, PartitionConfig, int], Indices]
"""(labels, classes, configuration, seed) -> (clients, classes) counts."""


def _by_table(table: Table) -> Callable[[Indices, int, PartitionConfig, int], list[Indices]]:
    """The `draw` of a partition whose `table` gives counts; rows are random within each class."""

    def draw(labels: Indices, classes: int, config: PartitionConfig, seed: int) -> list[Indices]:
        return _deal(labels, table(labels, classes, config, seed), seed)

    return draw


NIID_BENCH = Partition(_by_table(_dirichlet_per_class), check=_require_least)
DIRICHLET_PER_CLASS = Partition(_by_table(_dirichlet_per_class))
EQUAL_SIZE_PRIOR = Partition(_by_table(_equal_size_prior))
IID = Partition(_iid, uses_alpha=False)
PATHOLOGICAL = Partition(_by_table(_pathological), uses_alpha=False, check=_require_classes)
QUANTITY_SKEW = Partition(_quantity_skew, check=_require_least)
FEATURE_SKEW = Partition(_iid, uses_alpha=False, change=_with_noise)
BY_COLUMN = Partition(_by_column, uses_alpha=False)
