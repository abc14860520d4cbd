"""The version of this package."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version

UNINSTALLED = "0+uninstalled"
"""The version of a copy of the source that no installer has put in place, and that has no metadata therefore."""


@cache
def release() -> str:
    """The version as its metadata say, or `UNINSTALLED`."""
    try:
        return version("mosaic-fl")
    except PackageNotFoundError:
        return UNINSTALLED
