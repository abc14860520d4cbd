"""Flower is an extra: found where it is installed, and said plainly where it is not."""

import importlib.util
import os

from mosaic_fl.errors import UsageError

QUIET = {
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",  # or each run installs torch anew, over the one that is here
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_TELEMETRY_ENABLED": "0",
}
"""Flower's environment everywhere: nothing is installed, asked for or reported behind the user's back."""


def require(module: str = "flwr") -> None:
    """Raise UsageError where the extra is not installed; quieten it where it is."""
    if importlib.util.find_spec(module) is None:
        raise UsageError(f"{module} is not installed: pip install 'mosaic-fl[flower]'")
    os.environ.update(QUIET)
