"""The perceptual distance of two batches: how differently a frozen classifier sees them, layer by layer.

Pixels alone make a VAE blur what tells classes apart, as the dots of letters. Features of a trained network do not
(Dosovitskiy & Brox 2016; Hou, Shen, Sun & Qiu 2017). The network here is the client's own classifier.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mosaic_fl.numerics.placement import bring_back, settle

LEAST_ENERGY = 1e-6  # of a layer's outputs, so that a dead layer divides by no zero


class LayerOutputs:
    """Within the block, each pass of `model` records the outputs of its convolutional and linear layers.

    Without the last of them in order of registration, which gives the logits: its outputs are classes, not features.
    A model with a single such layer has that one.
    """

    def __init__(self, model: nn.Module) -> None:
        layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        self.model = model
        self.layers = layers[:-1] or layers
        self.outputs: list[Tensor] = []
        self.hooks: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        self.hooks = [layer.register_forward_hook(self._record) for layer in self.layers]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for hook in self.hooks:
            hook.remove()
        self.outputs.clear()

    def of(self, inputs: Tensor) -> list[Tensor]:
        """The outputs of the layers for a batch (n, …), differentiable in it."""
        self.outputs.clear()
        self.model(inputs)
        outputs = list(self.outputs)
        self.outputs.clear()  # nothing of a step outlives it
        return outputs

    def distance(self, inputs: Tensor, target: Tensor) -> Tensor:
        """Mean over layers of Σ(a − b)² / Σb², with outputs a for `inputs` and b for `target`, which has no gradient.

        0 where the network sees no difference, 1 where it sees nothing of the target. 0 for a model without layers.
        """
        with torch.no_grad():
            goals = self.of(target)
        terms = [
            (output.float() - goal.float()).square().sum() / goal.float().square().sum().clamp(min=LEAST_ENERGY)
            for output, goal in zip(self.of(inputs), goals, strict=True)
        ]
        return torch.stack(terms).mean() if terms else inputs.new_zeros(())

    def distances(self, inputs: Tensor, target: Tensor) -> Tensor:
        """As `distance`, of each sample alone, (n,): the sums are over its own outputs, so no sample sees another."""
        with torch.no_grad():
            goals = self.of(target)
        terms = [
            (output - goal).flatten(1).square().sum(1) / goal.flatten(1).square().sum(1).clamp(min=LEAST_ENERGY)
            for output, goal in zip(self.of(inputs), goals, strict=True)
        ]
        return torch.stack(terms).mean(0) if terms else inputs.new_zeros(len(inputs))

    def _record(self, _: nn.Module, inputs: Any, output: Tensor) -> None:
        self.outputs.append(output)


@contextmanager
def frozen(expert: nn.Module, device: torch.device) -> Iterator[None]:
    """`expert` on `device`, in eval mode and without gradients of its own; afterwards on the CPU and as before."""
    modes = [(module, module.training) for module in expert.modules()]
    learning = [p.requires_grad for p in expert.parameters()]
    settle(expert.eval().requires_grad_(False), device)
    try:
        yield
    finally:
        for parameter, requires_grad in zip(expert.parameters(), learning, strict=True):
            parameter.requires_grad_(requires_grad)
        for module, training in modes:
            module.training = training
        bring_back(expert)
