"""The digest of an encoder: SHA-256 of its weights, and of all else that decides its vectors."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mosaic_fl.storage.files import sha256


def digest_of(*parts: str | bytes) -> str:
    """SHA-256 in hexadecimal of these parts, in which no two lists of parts agree."""
    return sha256(*(part.encode() if isinstance(part, str) else part for part in parts))


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """The digest of tensors by name, with their types, shapes and values."""
    parts = list[str | bytes]()
    for name, tensor in sorted(weights.items()):
        values = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        parts += [name, str(tensor.dtype), str(tuple(tensor.shape)), values.numpy().tobytes()]
    return digest_of(*parts)
