"""Vectors for tests: clouds around a point a class."""

import torch

import mosaic_fl
from mosaic_fl.domains.dataset import Dataset


def clouds(count: int = 240, size: int = 4, seed: int = 0) -> Dataset:
    """Three classes in turn, around 0, 3 and 6, with a deviation of 1."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    features = torch.randn(count, size, generator=rng) + 3.0 * labels[:, None]
    return mosaic_fl.from_arrays(features.numpy(), labels.numpy())
