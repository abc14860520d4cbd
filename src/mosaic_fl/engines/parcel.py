"""Values on their way between this process and its workers: small tensors as bytes, large ones in shared memory.

torch shares the memory of each tensor through a file, which takes longer than a training step of a small network.
"""

import io
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch
from torch import Tensor

SMALL = 2**18  # bytes of a tensor that is copied through the pipe


class Parcel:
    """A wrapper for `value` in a pipe; the other end receives `value` itself."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self) -> tuple[Callable[[bytes], Any], tuple[bytes]]:
        buffer = io.BytesIO()
        _Pickler(buffer).dump(self.value)
        return ForkingPickler.loads, (buffer.getvalue(),)


class _Pickler(ForkingPickler):
    """As torch's own pickler, which shares tensors' memory, except that it copies small tensors."""

    def reducer_override(self, value: Any) -> Any:
        if type(value) is not Tensor or not _is_small(value):
            return NotImplemented
        data = value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        return _tensor, (data, value.dtype, tuple(value.shape), value.stride())


def _is_small(tensor: Tensor) -> bool:
    """Whether the tensor is small, plain, on the CPU and contiguous."""
    plain = tensor.device.type == "cpu" and tensor.layout == torch.strided and not tensor.requires_grad
    if not plain or not 0 < tensor.nbytes <= SMALL:
        return False
    return tensor.is_contiguous() or (tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last))


def _tensor(data: bytes, dtype: torch.dtype, shape: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    values = torch.frombuffer(bytearray(data), dtype=dtype).view(shape)
    return values if values.stride() == stride else torch.empty_strided(shape, stride, dtype=dtype).copy_(values)
