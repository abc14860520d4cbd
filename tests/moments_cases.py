"""Contributions of pictures with class moments beside a small model, for tests."""

import torch

import mosaic_fl
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.exchange.contribution import Contribution

FEW = {
    "train.max_steps": 5,
    "train.min_steps": 5,
    "generator.family": "none",
    "data.validation": 0.0,
    "moments.encoder": "gabor:16",
}


def split_by_class(data: Dataset, parts: int) -> list[Dataset]:
    """The most uneven split: each part has classes of its own."""
    return [data.subset((data.labels % parts == k).nonzero().flatten().tolist()) for k in range(parts)]


def told(data: Dataset, client: int, **settings: object) -> Contribution:
    """The contribution of a client that trains for five steps and tells its moments."""
    return mosaic_fl.contribute(data, model="mlp:4", client=client, settings={**FEW, **settings})


def first(data: Dataset, count: int = 300) -> Dataset:
    """The first `count` samples."""
    return data.subset(torch.arange(count).tolist())
