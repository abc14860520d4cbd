"""Contributions for tests of trust: clouds of vectors that any model tells apart, made in milliseconds."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

import mosaic_fl
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.server.trust.survey import Survey

CLASSES = 4
FEW = {
    "generator.family": "moments",
    "train.max_steps": 60,
    "train.min_steps": 60,
    "train.lr": 0.01,
    "data.validation": 0.0,
}


def clouds(counts: Sequence[int], seed: int) -> Dataset:
    """So many samples of each class, around the corners of a square of side 8, with a deviation of 1."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(CLASSES).repeat_interleave(torch.tensor(counts))
    corners = 8.0 * torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
    samples = torch.randn(len(labels), 2, generator=rng) + corners[labels]
    return mosaic_fl.from_arrays(samples.numpy(), labels.numpy(), classes=list("abcd"))


def client(
    number: int, counts: Sequence[int] = (20,) * CLASSES, lie: Callable[[Tensor], Tensor] | None = None
) -> Contribution:
    """A contribution of these samples, whose labels went through `lie`."""
    data = clouds(counts, number)
    if lie is not None:
        data = Dataset(data.samples, lie(data.labels), data.schema)
    return mosaic_fl.contribute(data, model="mlp:16", client=number, settings=FEW)


def flip(labels: Tensor) -> Tensor:
    """y -> 3 − y."""
    return CLASSES - 1 - labels


def told(counts: Sequence[Sequence[int]], lies: Sequence[Callable[[int], int]], each: int = 20) -> Survey:
    """A survey of clients that claim `counts`, whose models and generators both say `lies[k](y)` for class y."""
    labels = list[int]()
    sources = list[int]()
    shown = list[int]()
    for k, row in enumerate(counts):
        for y, count in enumerate(row):
            if count:
                labels += [y] * each
                sources += [k] * each
                shown += [lies[k](y)] * each  # what is to be seen, whatever the client says that it is
    answers = torch.tensor([[lies[k](y) for k in range(len(counts))] for y in shown])
    readings = answers[:, :, None].expand(-1, -1, 2).clone()
    return Survey(torch.tensor(labels), torch.tensor(sources), readings, torch.tensor(counts), {}, {})
