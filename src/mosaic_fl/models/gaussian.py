"""`gaussian`, the log-density of a Gaussian a class: what a quadratic discriminant is when it travels."""

import math

import torch
from torch import Tensor, nn

from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.vector import Vector
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.registry import family
from mosaic_fl.numerics.class_covariances import LARGEST


@family("gaussian")
class Gaussian(Classifier):
    """Logits −½‖(x − m_y) A_y‖² + b_y, in which A_y A_yᵀ is the inverse of the class's covariance.

    `factors` (C, d, d) are A_y, `shifts` (C, d) are m_y A_y, and `head.offsets` (C,) are b_y. Features are the vectors
    (x − m_y) A_y of all classes, one behind the other. Where classes share one covariance (`has_covariances`) the
    logits are linear: then the features are the sample itself, and `head` is one layer.
    """

    head: nn.Module

    def __init__(self, schema: Schema) -> None:
        super().__init__()
        size = math.prod(schema.shape)
        classes = schema.num_classes
        self.body = nn.Flatten()
        self.is_linear = not has_covariances(schema)
        if self.is_linear:
            self.head = nn.Linear(size, classes)
            return
        self.factors = nn.Parameter(torch.eye(size).repeat(classes, 1, 1))
        self.shifts = nn.Parameter(torch.randn(classes, size) / math.sqrt(size))
        self.head = Density(classes)

    def features(self, inputs: Tensor) -> Tensor:
        flat: Tensor = self.body(inputs)
        if self.is_linear:
            return flat
        return (torch.einsum("nd,cde->nce", flat, self.factors) - self.shifts).flatten(1)


def has_covariances(schema: Schema) -> bool:
    """Whether each class has a covariance of its own.

    It has one up to `LARGEST` numbers, except in the space of an encoder where a shared one is better.
    """
    kind = schema.kind
    shared = isinstance(kind, Vector) and bool(kind.encoder) and not kind.is_nearly_normal
    return math.prod(schema.shape) <= LARGEST and not shared


class Density(nn.Module):
    """b_y − ½‖v_y‖² (n, C) of vectors v (n, C·d)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.offsets = nn.Parameter(torch.zeros(classes))

    def forward(self, vectors: Tensor) -> Tensor:
        """Log-densities (n, C)."""
        parts: Tensor = vectors.unflatten(1, (len(self.offsets), -1))
        return self.offsets - parts.square().sum(2) / 2
