"""The folder of this user where encoders keep what is made once."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """`mosaic-fl` in $XDG_CACHE_HOME, else in ~/.cache; it may not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "mosaic-fl"
