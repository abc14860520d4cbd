"""Trees for tests: their fit, their draws, two columns."""

import torch
from torch import Tensor

from mosaic_fl.config import GeneratorConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.table import Column
from mosaic_fl.generators.cart import FAMILY, Cart
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.training.monitor import Recorder
from table_cases import SCHEMA

CPU = torch.device("cpu")
CODES = Column("ward", "category", categories=("a", "b", "c"), missing=True)
NUMBER = Column("dose", "numeric", low=0, high=100, knots=(0, 100), missing=True)


def fit(data: Dataset) -> Cart:
    generator = FAMILY.train(data, None, GeneratorConfig(), Stream(0, "generator", 0), CPU, Recorder())
    assert isinstance(generator, Cart)
    return generator


def drawn(generator: Cart, labels: Tensor, seed: int = 0) -> Tensor:
    return generator.samples(SCHEMA.fields, labels, torch.Generator().manual_seed(seed)).only
