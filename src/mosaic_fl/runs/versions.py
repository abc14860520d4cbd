"""With what a run was made: versions that its figures may depend on."""

import os
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from mosaic_fl.release import release

PACKAGES = ("torch", "numpy", "scikit-learn", "scipy", "flwr", "onnxruntime", "xgboost", "lightgbm")


def versions() -> Mapping[str, str]:
    """Versions by name: of this package, of Python, of the packages of `PACKAGES` that are there, and of the system."""
    result = {"mosaic-fl": release(), "Python": platform.python_version()}
    for name in PACKAGES:
        try:
            result[name] = version(name)
        except PackageNotFoundError:  # an extra that this run did without
            continue
    cores = os.cpu_count() or 1
    return result | {"system": f"{sys.platform}, {platform.machine()}, {cores} core{'s' * (cores != 1)}"}
