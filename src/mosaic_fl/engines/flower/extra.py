"""Flower as an optional extra: checks that it is installed, and its environment."""

import os

from mosaic_fl import extras

QUIET = {
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",  # or each run installs torch anew, over the one that is here
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_TELEMETRY_ENABLED": "0",
}
"""Flower's environment in all processes: it installs nothing, checks for no update and reports nothing."""


def require_simulation() -> None:
    """Raise UsageError where Flower's simulation is not installed; else set Flower's environment."""
    require("Flower's simulation", "flwr", "ray")


def require(work: str, *packages: str) -> None:
    """Raise UsageError where a package that `work` needs is not installed; else set Flower's environment."""
    extras.require(work, *packages)
    os.environ.update(QUIET)
