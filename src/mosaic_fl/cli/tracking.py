"""--track: which trackers of experiments a run tells, and what it tells them first."""

from typing import Annotated

import typer

from mosaic_fl.cli.options import names
from mosaic_fl.tracking.following import require_trackers

Track = Annotated[str | None, typer.Option(metavar="NAME,…", help="mlflow, tensorboard, wandb [none]")]


def trackers(text: str | None) -> list[str]:
    """The trackers that --track names, each once; raises UsageError for one that is unknown or not installed."""
    chosen = list(dict.fromkeys(names(text) or []))
    require_trackers(chosen)
    return chosen
