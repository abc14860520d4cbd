"""A network that does not learn while something else learns from it, as a generator does from a classifier."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from mosaic_fl.numerics.placement import bring_back, settle


@contextmanager
def frozen(network: nn.Module, device: torch.device) -> Iterator[None]:
    """`network` on `device`, in eval mode and without gradients of its own; afterwards on the CPU and as before.

    Its weights must not change within the block.
    """
    modes = [(module, module.training) for module in network.modules()]
    learning = [p.requires_grad for p in network.parameters()]
    settle(network.eval().requires_grad_(False), device)
    norms = [m for m in network.modules() if type(m) is nn.BatchNorm2d] if device.type == "cpu" else []
    for norm in norms:
        norm.forward = affine(norm)  # type: ignore[method-assign, assignment] # of this object alone
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward
        for parameter, requires_grad in zip(network.parameters(), learning, strict=True):
            parameter.requires_grad_(requires_grad)
        for module, training in modes:
            module.training = training
        bring_back(network)


def affine(norm: nn.BatchNorm2d) -> Callable[[Tensor], Tensor]:
    """What a batch norm is with its present, fixed statistics: maps (n, channels, height, width) · scale + shift.

    On a CPU it takes two thirds of the layer's time there and back. A layer without statistics keeps its own function.
    """
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        return norm.forward
    with torch.no_grad():
        scale = (variance + norm.eps).rsqrt()
        if norm.weight is not None:
            scale = scale * norm.weight
        shift = -mean * scale
        if norm.bias is not None:
            shift = shift + norm.bias
    return partial(torch.addcmul, shift.view(1, -1, 1, 1), scale.view(1, -1, 1, 1))
