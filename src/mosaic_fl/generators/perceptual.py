"""The perceptual distance of two batches: how differently a frozen classifier sees them, layer by layer.

Pixels alone make a VAE blur what tells classes apart, as the dots of letters. Features of a trained network do not
(Dosovitskiy & Brox 2016; Hou, Shen, Sun & Qiu 2017). The network here is the client's own classifier.
"""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.utils.hooks import RemovableHandle

from mosaic_fl.numerics.devices import AT_ONCE_ON_CPU

LEAST_ENERGY = 1e-6  # of a layer's outputs, so that a dead layer divides by no zero
MOST_REMEMBERED = 256 * 2**20  # bytes of a client's samples as its network sees them


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
        return self.distance_to(inputs, goals)

    def distance_to(self, inputs: Tensor, goals: Sequence[Tensor]) -> Tensor:
        """As `distance`, to the outputs `goals` of the layers for the target."""
        terms = [
            _SquaredDistance.apply(output.float(), goal.float()) / energy(goal.float())  # type: ignore[no-untyped-call]
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


class Goals:
    """What the layers give for a client's samples, which stay the same in every step.

    Where all of it fits `MOST_REMEMBERED` it is calculated once, and else anew for each batch.
    """

    def __init__(self, layers: LayerOutputs, inputs: Callable[[Tensor], Tensor], samples: int) -> None:
        """`inputs` gives a network's inputs for indices int64 (n,) of the `samples`; call it within the block."""
        self.layers = layers
        self.inputs = inputs
        self.all: list[Tensor] | None = None
        first = self._seen(torch.arange(min(1, samples)))
        if samples and samples * sum(output.numel() * output.element_size() for output in first) <= MOST_REMEMBERED:
            parts = [self._seen(part) for part in torch.arange(samples).split(AT_ONCE_ON_CPU)]
            self.all = [torch.cat(outputs) for outputs in zip(*parts, strict=True)]

    def at(self, index: Tensor) -> list[Tensor]:
        """The outputs of each layer for the samples at `index`, without gradients."""
        return self._seen(index) if self.all is None else [outputs[index] for outputs in self.all]

    @torch.no_grad()
    def _seen(self, index: Tensor) -> list[Tensor]:
        return self.layers.of(self.inputs(index))


def energy(goal: Tensor) -> Tensor:
    """Σb² of a layer's outputs b, in one pass over them."""
    squares: Tensor = torch.linalg.vector_norm(goal).square()
    return squares.clamp(min=LEAST_ENERGY)


class _SquaredDistance(torch.autograd.Function):
    """Σ(a − b)², whose gradient goes to a alone.

    It is one function for speed: as tensor operations it makes seven passes over what is often the largest tensor of a
    step, and this makes four.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, output: Tensor, goal: Tensor) -> Tensor:
        off = output - goal
        ctx.save_for_backward(off)
        distance: Tensor = torch.linalg.vector_norm(off).square()
        return distance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_sum: Tensor) -> tuple[Tensor, None]:
        """∂/∂a Σ(a − b)² = 2(a − b), in the place of a − b, which is needed no more."""
        (off,) = ctx.saved_tensors
        return off.mul_(2 * of_sum), None
