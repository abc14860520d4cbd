"""Functions of samples, as a site may have one that keeps its model; each answers a row by that row alone."""

from typing import Any

import numpy as np

PRIVATE = "a patient's name"


def predict(images: Any) -> Any:
    """Probabilities (n, 10): the brighter a tenth of the image, the likelier its class. Bits do not depend on n."""
    tenths = np.stack([part.sum(1) for part in np.array_split(images.reshape(len(images), -1), 10, axis=1)], 1)
    shares = (1 + tenths).astype(np.float64)
    return shares / shares.sum(1, keepdims=True)


def nan(images: Any) -> Any:
    return np.full((len(images), 10), np.nan)


def short(images: Any) -> Any:
    return predict(images)[:-1]


def odd(images: Any) -> Any:
    """Within 0..1, and of another sum than 1."""
    return np.full((len(images), 10), 0.5)


def broken(images: Any) -> Any:
    raise ValueError(PRIVATE)
