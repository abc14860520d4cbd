"""Hashes of values by content. `shared` names stored answers by them."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from pydantic import BaseModel
from torch import Tensor

from mosaic_fl.storage.files import sha256


class Digests:
    """Hashes of values. A tensor in several values is hashed once, so no tensor may change meanwhile."""

    def __init__(self) -> None:
        self._cache = dict[int, tuple[Tensor, str]]()  # by `id`, which is unique as long as the tensor is referenced

    def of(self, value: Any) -> str:
        """SHA-256 of a value's content: tensors, dataclasses, mappings (in any order), sequences and plain values.

        Values have the same digest if they are equal in content, types and shapes. Raises TypeError for other values.
        """
        if isinstance(value, Tensor):
            if id(value) not in self._cache:
                self._cache[id(value)] = value, _of_tensor(value)
            return self._cache[id(value)][1]
        if is_dataclass(value) and not isinstance(value, type):
            parts = {field.name: getattr(value, field.name) for field in fields(value)}
            return sha256(type(value).__qualname__.encode(), self.of(parts).encode())
        if isinstance(value, BaseModel):
            return sha256(type(value).__qualname__.encode(), self.of(value.model_dump()).encode())
        if isinstance(value, Mapping):
            items = sorted((self.of(key), self.of(item)) for key, item in value.items())
            return sha256(b"mapping", *(part.encode() for pair in items for part in pair))
        if isinstance(value, list | tuple):
            return sha256(b"sequence", *(self.of(item).encode() for item in value))
        if value is None or isinstance(value, str | int | float | bytes):
            return sha256(type(value).__name__.encode(), repr(value).encode())
        raise TypeError(f"a {type(value).__name__} has no digest: its content is unknown")


def digest(value: Any) -> str:
    """As `Digests.of`, for a single value."""
    return Digests().of(value)


def _of_tensor(tensor: Tensor) -> str:
    plain = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return sha256(f"tensor {tensor.dtype} {list(tensor.shape)}".encode(), plain.numpy().data)
