"""How an encoder travels in a global model's file: as numbers, or as an ONNX model, never as code."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from mosaic_fl.domains.kind import Kind
from mosaic_fl.encoders.encoder import Encoder
from mosaic_fl.errors import UsageError, excerpt


@dataclass(frozen=True)
class Carried:
    """How encoders of a family are made of bytes that were received.

    `digest(argument, kind, content)` is that of the encoder that these bytes make; it uses no more than their form.
    `make(argument, kind, content)` makes it. `argument` is what follows the colon of its name. Both raise UsageError.
    """

    digest: Callable[[str, Kind, bytes], str]
    make: Callable[[str, Kind, bytes], Encoder]


def altered(name: str) -> UsageError:
    """The error for bytes that are not those of the encoder that a model names."""
    return UsageError(
        f"the encoder {excerpt(name)} in the file is not the one that the model was made with: damaged, altered, or of "
        "another version; get the model again"
    )


def tensors_in(name: str, content: bytes, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """float32 tensors of received safetensors; raises UsageError unless they have these shapes and are finite."""
    try:
        tensors = load(content)
    except (SafetensorError, ValueError, KeyError, RuntimeError):
        raise altered(name) from None
    if {key: tuple(tensor.shape) for key, tensor in tensors.items()} != dict(shapes):
        raise altered(name)
    numbers = {key: tensor.to(torch.float32) for key, tensor in tensors.items() if tensor.is_floating_point()}
    if len(numbers) != len(tensors) or not all(bool(tensor.isfinite().all()) for tensor in numbers.values()):
        raise altered(name)
    return numbers
