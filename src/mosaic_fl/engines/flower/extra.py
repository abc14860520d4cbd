"""Flower is an extra: found where it is installed, and said plainly where it is not."""

import os

from mosaic_fl import extras

QUIET = {
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",  # or each run installs torch anew, over the one that is here
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_TELEMETRY_ENABLED": "0",
}
"""Flower's environment everywhere: nothing is installed, asked for or reported behind the user's back."""


def require_simulation() -> None:
    """Raise UsageError where Flower's simulation is not installed; quieten Flower where it is."""
    require("Flower's simulation", "flwr", "ray")


def require(work: str, *packages: str) -> None:
    """Raise UsageError where `work` needs a package that is not installed; quieten Flower where all are."""
    extras.require(work, *packages)
    os.environ.update(QUIET)
