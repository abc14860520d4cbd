"""Gradients of single samples by Opacus, whose rule for two-dimensional convolutions is replaced by a right one.

Opacus 1.6 reads a convolution's inputs as if they lay in memory channel by channel. With channels last, as on maps of
one pixel, it reads other numbers, of other samples too: then no gradient is one of its own sample alone.
"""

import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mosaic_fl.errors import UsageError
from mosaic_fl.extras import require
from mosaic_fl.numerics.accountant import WORK

TRACES = ("grad_sample", "_forward_counter", "_current_grad_sample", "activations", "max_batch_len")


class Followed:
    """The hooks of Opacus on `network`, in training mode, by which each backward pass gives single gradients."""

    def __init__(self, network: nn.Module) -> None:
        """Raises UsageError for layers that Opacus cannot take, and where it is not installed."""
        require(WORK, "opacus")
        from opacus.grad_sample import GradSampleModule

        rules = {**GradSampleModule.GRAD_SAMPLERS, nn.Conv2d: convolution}
        own = type("GradSampleModule", (GradSampleModule,), {"GRAD_SAMPLERS": rules})
        self.network = network
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        try:
            self._hooks: Any = own(network, batch_first=True, loss_reduction="sum")
        except (NotImplementedError, ValueError) as error:
            raise UsageError(f"Opacus cannot take this network: {one_line(error)}") from error

    def gradients(self, loss: Tensor) -> list[Tensor]:
        """The gradients (n, *shape) of the n samples whose losses sum to `loss`, a scalar with a graph.

        A number that is not finite is 0.
        """
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Full backward hook")  # inputs need no gradient
            loss.backward()
        gradients = [_of_samples(p) for p in self.parameters]
        for parameter in self.parameters:
            vars(parameter)["grad_sample"] = None
            parameter.grad = None
        return gradients

    def close(self) -> None:
        """Take the hooks and their traces away."""
        self._hooks.remove_hooks()
        for thing in (*self.parameters, *self.network.modules()):
            for name in TRACES:
                vars(thing).pop(name, None)


def unfit(network: nn.Module) -> str:
    """Why Opacus cannot take `network`, in words; empty where it can. Raises UsageError where it is not installed."""
    require(WORK, "opacus")
    from opacus.validators import ModuleValidator

    errors = ModuleValidator.validate(network.train(), strict=False)
    return one_line(errors[0]) if errors else ""


def convolution(layer: nn.Conv2d, activations: list[Tensor], backprops: Tensor) -> dict[Tensor, Tensor]:
    """The gradients of single samples of a convolution, for its inputs and the gradients of its outputs.

    `activations` are [(n, channels, height, width)], `backprops` (n, outputs, height, width), in any memory format.
    """
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        return _by_vmap(layer, activations, backprops)
    columns = F.unfold(activations[0], layer.kernel_size, layer.dilation, layer.padding, layer.stride)
    n = len(columns)
    groups = layer.groups
    outer = backprops.reshape(n, groups, layer.out_channels // groups, -1)
    inner = columns.view(n, groups, -1, columns.shape[2])
    found = dict[Tensor, Tensor]()
    if layer.weight.requires_grad:
        found[layer.weight] = torch.einsum("ngoq,ngpq->ngop", outer, inner).reshape(n, *layer.weight.shape)
    if layer.bias is not None and layer.bias.requires_grad:
        found[layer.bias] = outer.sum(3).view(n, -1)
    return found


def _by_vmap(layer: nn.Conv2d, activations: list[Tensor], backprops: Tensor) -> dict[Tensor, Tensor]:
    from opacus.grad_sample.functorch import ft_compute_per_sample_gradient, prepare_layer

    if not hasattr(layer, "ft_compute_sample_grad"):
        prepare_layer(layer, batch_first=True)
    gradients: dict[Tensor, Tensor] = ft_compute_per_sample_gradient(layer, activations, backprops)
    return gradients


def _of_samples(parameter: Any) -> Tensor:
    """The gradients of the samples of one backward pass, (n, *shape), with 0 for what is not finite."""
    gradient = parameter.grad_sample
    if not isinstance(gradient, Tensor):
        raise UsageError("Opacus tells no gradient of single samples for a layer of this network: leave the layer out")
    return gradient.float().nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)


def one_line(error: object) -> str:
    """An error's text in one line of 200 characters at most."""
    return " ".join(str(error).split())[:200]
