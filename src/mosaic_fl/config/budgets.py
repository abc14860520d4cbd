"""Budgets: the settings that say for how long something trains, and how they shrink together."""

from collections.abc import Iterable

from mosaic_fl.config import Config

CLIENT = ("train.min_steps", "train.max_steps", "train.epochs", "generator.steps", "generator.epochs")
"""Budgets of a client's classifier and generator."""
SERVER = ("meta.steps", "distill.steps")
"""Budgets of Mosaic's server."""
METHODS = ("rounds.steps", "synthesis.epochs")
"""Budgets of other methods: local steps a round, and turns of a server's own generator."""
PASSES = frozenset({"train.epochs", "generator.epochs"})  # these may be fractions; the others are whole numbers


def budget(config: Config, path: str) -> float:
    """The number of the setting `path`, as "distill.steps"."""
    section, key = path.split(".")
    number: float = getattr(getattr(config, section), key)
    return number


def scaled(config: Config, share: float, paths: Iterable[str]) -> Config:
    """The configuration with a `share` of each of these budgets, at least one step; a 0, which means none, stays."""
    if share == 1:
        return config
    usual = {path: value for path in paths if (value := budget(config, path))}
    return config.with_values(
        {path: share * value if path in PASSES else max(1, round(share * value)) for path, value in usual.items()}
    )
