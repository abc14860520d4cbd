"""The table of a forecast, for `--dry-run`."""

from rich import box
from rich.table import Table

from mosaic_fl.forecast.forecast import Forecast, duration


def forecast_table(forecast: Forecast) -> Table:
    """One row for each stage: its training steps and its seconds on the clock."""
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("stage")
    table.add_column("steps", justify="right")
    table.add_column("time", justify="right")
    for stage in forecast.stages:
        table.add_row(stage.name, f"{stage.steps:,}" if stage.steps else "–", duration(stage.seconds))
    return table
