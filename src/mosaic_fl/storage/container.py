"""The file format of this package: safetensors whose metadata holds a JSON manifest and a SHA-256 over both.

Contributions, models, stages and messages are such files. Any safetensors tool reads the tensors. Nothing is unpickled,
imported or evaluated. Sizes are checked before memory is allocated, and the tensors must be finite.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mosaic_fl.errors import MosaicError, UsageError, excerpt
from mosaic_fl.storage import received_json
from mosaic_fl.storage.encryption import decrypt
from mosaic_fl.storage.files import read_bytes as read_file
from mosaic_fl.storage.files import sha256, write_atomic
from mosaic_fl.storage.header import FORMAT, NOT_OURS, read_header
from mosaic_fl.storage.keys import PrivateKey, read_key

VERSION = 1
MAX_FILE = 8 * 2**30
MAX_DIMENSIONS = 16  # of a tensor: a network's have five at most, and numpy takes 64
MAX_TENSORS = 2**15  # of a received file: each costs 0.1 ms, however small. 256 merged generators have fewer
Key = PrivateKey | str | Path | None
"""A private key, its file, or none: what an encrypted file is read by."""
TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)


def pack(kind: str, manifest: dict[str, Any], tensors: dict[str, Tensor]) -> bytes:
    """The file's bytes; the same values give the same bytes.

    Raises MosaicError for a tensor with NaN or infinite values, and for one of a type that is not in `TYPES`, which
    `unpack` would refuse.
    """
    # Copies, because a model's tied weights share their memory and the format does not allow that.
    plain = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in sorted(tensors.items())
    }
    if defect := _form_defect(plain):
        raise MosaicError(f"the {kind} has a tensor that this file format cannot hold: {defect}")
    name = _first_non_finite(plain)
    if name:
        raise MosaicError(f"the {kind} has non-finite values in {name!r}: training diverged; lower the learning rate")
    text = json.dumps({"format": FORMAT, "version": VERSION, "kind": kind, "manifest": manifest}, sort_keys=True)
    return save(plain, {FORMAT: json.dumps({"content": text, "sha256": _digest(text, plain)})})


def unpack(
    data: bytes, kind: str, source: str, tensors_at_most: int | None = MAX_TENSORS
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """(manifest, tensors) of bytes from any source, which errors name as `source`; None: of any number of tensors.

    Raises UsageError for: not this format, another kind or version, truncated, wrong hash, non-finite values,
    a type of tensor that is not in `TYPES`, too many tensors.
    """
    if len(data) > MAX_FILE:
        raise UsageError(f"{source}: {len(data)} bytes; at most {MAX_FILE} are read")
    header = read_header(data, source)
    text = header.content
    digest = header.digest
    try:
        content = received_json.loads(text)
    except ValueError as error:
        raise UsageError(f"{source}: its manifest is not JSON") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UsageError(f"{source}: {NOT_OURS}")
    if content.get("version") != VERSION:
        raise UsageError(f"{source}: format version {excerpt(content.get('version'))}; this mosaic-fl reads {VERSION}")
    if content.get("kind") != kind:
        raise UsageError(f"{source}: holds a {excerpt(content.get('kind'))}, expected a {kind!r}")
    if tensors_at_most is not None and len(header.tree) - 1 > tensors_at_most:
        raise UsageError(f"{source}: {len(header.tree) - 1:,} tensors; at most {tensors_at_most:,} are read")
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError, RuntimeError, TypeError, OverflowError, AttributeError) as error:
        raise UsageError(f"{source}: truncated or damaged") from error
    if _digest(text, tensors) != digest:
        raise UsageError(f"{source}: its SHA-256 does not match: damaged or altered on the way; send it again")
    if defect := _form_defect(tensors):
        raise UsageError(f"{source}: tensor {defect}, which is not read")
    name = _first_non_finite(tensors)
    if name:
        raise UsageError(f"{source}: non-finite values in {excerpt(name)}")
    manifest = content.get("manifest")
    if not isinstance(manifest, dict):
        raise UsageError(f"{source}: has no manifest")
    return manifest, tensors


def kind_of(data: bytes) -> str:
    """What bytes from any source say that they hold, unchecked; empty where they are not of this format."""
    try:
        content = received_json.loads(read_header(data, "file").content)
    except (UsageError, ValueError):
        return ""
    kind = content.get("kind") if isinstance(content, dict) else None
    return kind if isinstance(kind, str) else ""


def write(path: Path, kind: str, manifest: dict[str, Any], tensors: dict[str, Tensor]) -> int:
    """Write the file atomically; returns its size in bytes."""
    data = pack(kind, manifest, tensors)
    write_atomic(path, data)
    return len(data)


def read(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """(manifest, tensors) of a file of this process's own; UsageError as `unpack`, or where it cannot be read."""
    return unpack(read_bytes(path), kind, str(path), None)


def read_bytes(path: Path, key: Key = None, most: int = MAX_FILE) -> bytes:
    """The content of a file of at most `most` bytes, decrypted by `key` where it is encrypted.

    Raises UsageError that names the file, or the file of the key.
    """
    whole = read_key(Path(key)) if isinstance(key, str | Path) else key
    return decrypt(read_file(path, most), whole, str(path))


def _digest(text: str, tensors: dict[str, Tensor]) -> str:
    parts: list[bytes | memoryview] = [text.encode()]
    for name, tensor in sorted(tensors.items()):
        parts += [f"{name} {tensor.dtype} {list(tensor.shape)}".encode()]
        parts += [tensor.reshape(-1).view(torch.uint8).numpy().data]  # a view, since a copy may be large
    return sha256(*parts)


def _form_defect(tensors: dict[str, Tensor]) -> str | None:
    """What is wrong with the type or shape of the first tensor that the format cannot hold, or None."""
    for name, tensor in tensors.items():
        if tensor.dtype not in TYPES:
            return f"{excerpt(name)} is {tensor.dtype}"
        if tensor.ndim > MAX_DIMENSIONS:
            return f"{excerpt(name)} has {tensor.ndim} dimensions"
    return None


def _first_non_finite(tensors: dict[str, Tensor]) -> str | None:
    """The name of the first tensor with a NaN or infinite value, or None."""
    return next((n for n, t in tensors.items() if t.is_floating_point() and not _is_finite(t)), None)


def _is_finite(tensor: Tensor) -> bool:
    """Whether all values are finite. The extremes show it, and need no second tensor of this size."""
    return tensor.numel() == 0 or all(bool(extreme.isfinite()) for extreme in tensor.aminmax())
