"""The memory and work that a network needs. They are measured on the meta device, which uses neither."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from mosaic_fl.errors import UsageError

# Values a sample in the output of any operation: 256 MiB in float32, and more for a network with many parameters.
# Without a bound a received file of 24 kB could need 512 MiB an image. A ResNet-50, of 94 MB, has maps of that size at
# 720 pixels.
MAX_MAP = 2**26
MAP_PER_PARAMETER = 16
LARGEST_MAP = 2**28
# What one core of a small machine does in a second, for an estimate: operations of a convolution, values of a map.
OPERATIONS_A_SECOND = 2e10
VALUES_A_SECOND = 3e8
SECONDS_A_CALL = 3e-5


@dataclass(frozen=True)
class Work:
    """The work of a network for one sample: `largest` values in one map, `values` in all, floating-point `operations`.

    `calls` is the number of operations that it calls for a batch of any size.
    """

    largest: int
    values: int
    operations: int
    calls: int

    @property
    def seconds(self) -> float:
        """Estimated seconds of one core for a sample, without the calls."""
        return self.operations / OPERATIONS_A_SECOND + self.values / VALUES_A_SECOND

    @property
    def call_seconds(self) -> float:
        """Estimated seconds of one core for the calls of a batch."""
        return self.calls * SECONDS_A_CALL

    def times(self, passes: int) -> "Work":
        """The work of this many passes, one after the other."""
        return Work(self.largest, passes * self.values, passes * self.operations, passes * self.calls)


class _Counter(TorchDispatchMode):
    """Counts the outputs of all operations, of layers and functions, and the arithmetic of matrix operations."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.largest = self.values = self.operations = self.calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.calls += 1
        for output in result if isinstance(result, tuple | list) else (result,):
            if isinstance(output, Tensor) and not func.is_view:
                self.largest = max(self.largest, output.numel())
                self.values += output.numel()
        if count := flop_registry.get(func._overloadpacket):
            self.operations += count(*args, **(kwargs or {}), out_val=result)
        return result


@torch.no_grad()
def measure(module: nn.Module, *inputs: Any, samples: int = 0) -> tuple[Any, Work]:
    """The output of `module` for a batch on the meta device, and its work for one sample of the batch.

    `samples` is their number; 0 is the length of the first input.
    """
    with _Counter() as counter:
        output = module(*inputs)
    samples = samples or len(inputs[0])
    work = Work(counter.largest // samples, counter.values // samples, counter.operations // samples, counter.calls)
    return output, work


def require_small(name: str, module: nn.Module, work: Work) -> None:
    """Raise UsageError where the largest map of `work` is too large for the parameters of the network.

    A small received file could need terabytes, because large maps need few parameters. `name` is for errors.
    """
    parameters = sum(parameter.numel() for parameter in module.parameters())
    most = min(MAX_MAP + MAP_PER_PARAMETER * parameters, LARGEST_MAP)
    if work.largest > most:
        raise UsageError(f"{name}: a layer gives {work.largest:,} values a sample: at most {most:,}")
