"""Simulated clients: a data set divided among them, and sums over their validation splits."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from mosaic_fl.attacks.attackers import Attackers, attackers_of
from mosaic_fl.client.contribute import Site, split
from mosaic_fl.config import Config
from mosaic_fl.data.partition import partition
from mosaic_fl.domains.dataset import Dataset, Splits


def spread(config: Config, splits: Splits, models: Sequence[str]) -> tuple[Site, ...]:
    """The clients, each with its shard of the training data and in turn one of `models`; raises UsageError.

    Those that lie have the data that they train on.
    """
    return spread_with_attackers(config, splits, models)[0]


def spread_with_attackers(
    config: Config, splits: Splits, models: Sequence[str]
) -> tuple[tuple[Site, ...], Attackers | None]:
    """As `spread`, and who lies among the clients."""
    shards = partition(splits.train, config.partition, config.run.seed, splits.column)
    attackers = attackers_of(config, shards)
    if attackers is not None:
        shards = [attackers.poison(k, shard) for k, shard in enumerate(shards)]
    return tuple(Site(k, shard, models[k % len(models)]) for k, shard in enumerate(shards)), attackers


def tally(count: Callable[[Dataset], Mapping[str, int]], sites: Sequence[Site], config: Config) -> Mapping[str, int]:
    """The sums, by name, of what `count` finds on each site's validation split."""
    sums = Counter[str]()
    for site in sites:
        sums.update(count(split(site, config)[1]))
    return sums
