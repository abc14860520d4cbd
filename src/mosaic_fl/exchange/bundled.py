"""A bundle in a global model's file: a tensor of bytes for each part of its encoder, which the manifest names."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.config.encoder_names import MOST_PARTS
from mosaic_fl.encoders.bundle import MOST, Bundle
from mosaic_fl.errors import UsageError

BUNDLE = "bundle"  # in the manifest: the names of the parts in their order


def packed(bundle: Bundle) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """(what the manifest says of a bundle, its tensors); both are empty without one."""
    if not bundle:
        return {}, {}
    tensors = {
        _name(place): torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.zeros(0).byte()
        for place, content in enumerate(bundle.values())
    }
    return {BUNDLE: list(bundle)}, tensors


def unpacked(manifest: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> tuple[dict[str, bytes], dict[str, Tensor]]:
    """(the bundle, all other tensors) of a received file; raises UsageError where they are not as `packed` makes them.

    Sizes are checked before anything is copied.
    """
    if BUNDLE not in manifest:
        return {}, dict(tensors)
    names = manifest[BUNDLE]
    if not isinstance(names, list) or not 1 <= len(names) <= MOST_PARTS or not all(isinstance(n, str) for n in names):
        raise UsageError("its manifest says of an encoder what is no list of names")
    contents = [tensors.get(_name(place)) for place in range(len(names))]
    whole = [tensor for tensor in contents if tensor is not None and tensor.dtype == torch.uint8 and tensor.ndim == 1]
    if len(whole) < len(names) or len(set(names)) < len(names):
        raise UsageError("its manifest says of an encoder what the file does not hold")
    if (size := sum(tensor.numel() for tensor in whole)) > MOST:
        raise UsageError(f"holds an encoder of {size:,} bytes: {MOST:,} at most are read")
    places = {_name(place) for place in range(len(names))}
    bundle = {name: tensor.numpy().tobytes() for name, tensor in zip(names, whole, strict=True)}
    return bundle, {name: tensor for name, tensor in tensors.items() if name not in places}


def _name(place: int) -> str:
    return f"{BUNDLE}/{place}"
