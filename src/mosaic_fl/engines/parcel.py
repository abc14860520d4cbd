"""What travels between this process and its workers: small tensors as bytes, large ones in shared memory.

torch shares each tensor's memory by a file of its own, which costs a small network more than its training step does.
"""

import io
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch
from torch import Tensor

SMALL = 2**18  # bytes of a tensor that is copied through the pipe


class Parcel:
    """`value`, which arrives at the other end as itself."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self) -> tuple[Callable[[bytes], Any], tuple[bytes]]:
        packed = io.BytesIO()
        _Pickler(packed).dump(self.value)
        return ForkingPickler.loads, (packed.getvalue(),)


class _Pickler(ForkingPickler):
    """torch's own, which shares memory, but for small tensors."""

    def reducer_override(self, value: Any) -> Any:
        if type(value) is not Tensor or not _is_small(value):
            return NotImplemented
        data = value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        return _tensor, (data, value.dtype, tuple(value.shape), value.stride())


def _is_small(tensor: Tensor) -> bool:
    """Whether it is a small plain one on the CPU that has a value of its own in each place."""
    plain = tensor.device.type == "cpu" and tensor.layout == torch.strided and not tensor.requires_grad
    if not plain or not 0 < tensor.nbytes <= SMALL:
        return False
    return tensor.is_contiguous() or (tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last))


def _tensor(data: bytes, dtype: torch.dtype, shape: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    values = torch.frombuffer(bytearray(data), dtype=dtype).view(shape)
    return values if values.stride() == stride else torch.empty_strided(shape, stride, dtype=dtype).copy_(values)
