"""Bayesian networks for tests: their fit, their draws."""

import torch
from torch import Tensor

from mosaic_fl.config import GeneratorConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.generators.marginals import FAMILY, Marginals
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.training.monitor import Recorder

CPU = torch.device("cpu")


def fit(data: Dataset) -> Marginals:
    generator = FAMILY.train(data, None, GeneratorConfig(), Stream(0, "generator", 0), CPU, Recorder())
    assert isinstance(generator, Marginals)
    return generator


def drawn(generator: Marginals, labels: Tensor, seed: int = 0) -> Tensor:
    kind = generator.table
    return generator.samples({"table": kind}, labels, torch.Generator().manual_seed(seed)).only
