"""What tells one value from another: a hash of its content."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from pydantic import BaseModel
from torch import Tensor

from mosaic_fl.storage.files import sha256


class Digests:
    """Hashes of values, each tensor's bytes hashed once however many values hold it; none may change meanwhile."""

    def __init__(self) -> None:
        self._known = dict[int, tuple[Tensor, str]]()  # by its place, which is its own for as long as it is held here

    def of(self, value: Any) -> str:
        """SHA-256 of a value's content: tensors, dataclasses, mappings (in any order), sequences and plain values.

        Two values have one digest if they are equal, types and shapes included. Raises TypeError for anything else.
        """
        if isinstance(value, Tensor):
            if id(value) not in self._known:
                self._known[id(value)] = value, _of_tensor(value)
            return self._known[id(value)][1]
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
        raise TypeError(f"a {type(value).__name__} has no content to tell it by")


def digest(value: Any) -> str:
    """As `Digests.of`, of one value alone."""
    return Digests().of(value)


def _of_tensor(tensor: Tensor) -> str:
    plain = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return sha256(f"tensor {tensor.dtype} {list(tensor.shape)}".encode(), plain.numpy().data)
