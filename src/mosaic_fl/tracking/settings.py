"""The settings that a tracker is told of a run."""

from typing import Any

from mosaic_fl.config import Config


def settings_of(config: Config) -> dict[str, Any]:
    """All settings by their whole names, as `run.seed`."""
    sections = config.model_dump(mode="json")
    return {f"{section}.{name}": value for section, values in sections.items() for name, value in values.items()}
