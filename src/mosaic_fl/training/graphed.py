"""A training step as one CUDA graph: a small network's step is hundreds of kernels, and launching them costs most.

A graph is a step's kernels, captured once and replayed with one launch. Its inputs, weights and learning rate stay at
their places in memory, and a replay reads what is there.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from mosaic_fl.training.ahead import Tensors
from mosaic_fl.training.steps import PlainStep

WARM_UP = 3  # steps before the capture, in which libraries choose their kernels and optimisers make their state


class GraphedStep:
    """Whole steps of `update` down `loss`, on CUDA. The first ones run as ever; then one is captured and replayed.

    `loss` takes tensors that have the same shapes in every step, and must not wait for the device. Where a step cannot
    be captured all of them run as ever, and `reason` says why.
    """

    def __init__(self, loss: Callable[..., Tensor], update: PlainStep, device: torch.device) -> None:
        self.loss = loss
        self.update = update
        self.device = device
        self.steps = 0
        self.reason = ""
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: Tensors = ()
        self._value = torch.zeros(())
        self._stream = torch.cuda.Stream(device)  # torch asks for one beside the current for the steps before a capture

    def __call__(self, tensors: Tensors) -> Tensor:
        """Take one step with these tensors of the CPU; returns the loss, which the next step may overwrite."""
        if self._graph is None:
            self._inputs = tuple(torch.empty_like(tensor, device=self.device) for tensor in tensors)
        for place, tensor in zip(self._inputs, tensors, strict=True):
            place.copy_(tensor.pin_memory(), non_blocking=True)
        self.steps += 1
        if self._graph is None and (self.steps <= WARM_UP or self.reason or not self._capture()):
            return self._plain()
        assert self._graph is not None
        self._graph.replay()
        return self._value

    def close(self) -> None:
        """Give back the graph's memory, of which the gradients are a part."""
        self.update.optimiser.zero_grad(set_to_none=True)
        self._graph = None
        self._value = torch.zeros(())

    def _plain(self) -> Tensor:
        """A step without a graph."""
        self._stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._stream):
            value = self.loss(*self._inputs)
            self.update(value)
        torch.cuda.current_stream(self.device).wait_stream(self._stream)
        return value.detach()

    def _capture(self) -> bool:
        """Capture a step, which does not take it; returns whether that was possible."""
        for group in self.update.optimiser.param_groups:
            group["capturable"] = True
            group["lr"] = torch.tensor(float(group["lr"]), device=self.device)  # schedules write into it from now on
        self.update.optimiser.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                value = self.loss(*self._inputs)
                self.update(value)
        except RuntimeError as error:
            self.reason = str(error).partition("\n")[0] or type(error).__name__
            self.update.optimiser.zero_grad(set_to_none=True)
            for group in self.update.optimiser.param_groups:
                group["lr"] = float(group["lr"])
                group["capturable"] = False
            return False
        self._graph = graph
        self._value = value.detach()
        return True
