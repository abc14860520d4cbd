"""Extras: packages that some work alone needs, and that `pip install mosaic-fl` leaves out."""

import importlib.util

from mosaic_fl.errors import UsageError
from mosaic_fl.notes import note

EXTRAS = {
    "cryptography": "flower",
    "flwr": "flower",
    "prometheus_client": "flower",
    "ray": "flower",
    "datasets": "hub",
    "huggingface_hub": "hub",
    "matplotlib": "report",
    "timm": "timm",
}
"""The extra of pyproject.toml that brings a package, by the name under which the package is imported."""


def require(work: str, *packages: str) -> None:
    """Raise UsageError where a package that `work` needs is not installed, which says how to install it."""
    if lack := _lack(work, packages):
        raise UsageError(lack)


def installed(work: str, *packages: str) -> bool:
    """Whether the packages that `work` needs are installed; where one is not, a note says how to install it."""
    if lack := _lack(work, packages):
        note(lack)
    return not lack


def remedy(package: str) -> str:
    """What installs a package of an extra, as a command."""
    return f"pip install 'mosaic-fl[{EXTRAS[package]}]'"


def _lack(work: str, packages: tuple[str, ...]) -> str:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            return f"{work} needs {package}, which is not installed: {remedy(package)}"
    return ""
