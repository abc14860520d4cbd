"""The last function of a classifier, found from its outputs: a softmax, or another one that bounds them, or none.

The outputs of an ordinary network may look like a softmax by chance of its first weights: a head of zeros with a bias
of class shares gives rows that sum to 1. So a bound must also hold for other weights.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from mosaic_fl.domains.samples import Inputs, example_inputs
from mosaic_fl.domains.schema import Schema

Ending = Literal["softmax", "log-softmax", "sigmoid", "tanh", ""]

IMAGES = 4
DRAWS = (0.05, *(1.0, 3.0, 10.0) * 6)  # strengths of the noise on the weights
LEAST_DRAWS = 4  # with finite outputs: fewer are no evidence
TOLERANCE = 1e-4  # of a sum in float32
COARSE = 1e-2  # and in 16 bits


@torch.no_grad()
def find_ending(model: nn.Module, schema: Schema) -> Ending:
    """The function that bounds the outputs (n, C) of `model` for all weights, on the CPU; "" for logits."""
    images = example_inputs(schema.fields, IMAGES, lambda shape: torch.rand(shape) * 2 - 1)
    outputs = model(images)
    if not bool(outputs.isfinite().all()):
        return ""
    for ending, holds in _LAWS.items():
        if holds(outputs) and _holds_for_random_weights(holds, model, images):
            return ending
    return ""


def most_probable(classes: int, extent: float) -> float:
    """The greatest probability that softmax can give one of `classes` logits which differ by at most `extent`."""
    return math.exp(extent) / (math.exp(extent) + classes - 1)


def _holds_for_random_weights(holds: Callable[[Tensor], bool], model: nn.Module, images: Inputs) -> bool:
    """Whether `holds` is true of the outputs with noise on the weights; the weights are restored afterwards."""
    weights = [(p, p.detach().clone()) for p in model.parameters() if p.is_floating_point()]
    draws = 0
    try:
        for strength in DRAWS:
            for parameter, start in weights:
                noise = torch.randn(start.shape) * (strength * _scale(start))
                parameter.copy_(start + noise.to(start.dtype))
            outputs = model(images)
            if bool(outputs.isfinite().all()):  # a negative variance, say, gives NaN
                draws += 1
                if not holds(outputs):
                    return False
        return draws >= LEAST_DRAWS
    finally:
        for parameter, start in weights:
            parameter.copy_(start)


def _scale(weight: Tensor) -> float:
    """The size of noise that changes the outputs and leaves them finite, in a deep network too."""
    if weight.ndim < 2 or not weight.numel():
        return 1.0
    # correction=0: the unbiased estimate is NaN for a single number.
    return max(float(weight.float().std(correction=0)), math.sqrt(len(weight) / weight.numel()))


def _tolerance(outputs: Tensor) -> float:
    return COARSE if outputs.dtype in (torch.float16, torch.bfloat16) else TOLERANCE


def _is_softmax(outputs: Tensor) -> bool:
    sums = outputs.double().sum(1)
    return bool((outputs >= 0).all() and ((sums - 1).abs() <= _tolerance(outputs)).all())


def _is_log_softmax(outputs: Tensor) -> bool:
    return bool((outputs.double().logsumexp(1).abs() <= _tolerance(outputs)).all())


def _is_sigmoid(outputs: Tensor) -> bool:
    return bool(((outputs >= 0) & (outputs <= 1)).all())


def _is_tanh(outputs: Tensor) -> bool:
    return bool((outputs.abs() <= 1).all())


_LAWS: dict[Ending, Callable[[Tensor], bool]] = {
    "softmax": _is_softmax,
    "log-softmax": _is_log_softmax,
    "sigmoid": _is_sigmoid,
    "tanh": _is_tanh,
}
