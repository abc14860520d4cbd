"""Simulated clients: a data set divided among them."""

from collections.abc import Sequence

from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config
from mosaic_fl.data.partition import partition
from mosaic_fl.domains.dataset import Splits


def spread(config: Config, splits: Splits, models: Sequence[str]) -> tuple[Site, ...]:
    """The clients, each with its shard of the training data and in turn one of `models`; raises UsageError."""
    shards = partition(splits.train, config.partition, config.run.seed)
    return tuple(Site(k, shard, models[k % len(models)]) for k, shard in enumerate(shards))
