"""`package.module:factory`: a network of the user's own, which is trusted as models are.

The factory takes nothing and returns a `torch.nn.Module` from a network's inputs (pixels in −1..1) to (n, size). Its
weights must be the same at each call. The module may say in an attribute `trained_on` what it has learnt from.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from mosaic_fl.domains.kind import Kind
from mosaic_fl.domains.schema import is_plain
from mosaic_fl.encoders.digests import digest_of, weights_digest
from mosaic_fl.encoders.encoder import Encode, Encoder
from mosaic_fl.encoders.family import NOT_TOLD, EncoderFamily
from mosaic_fl.errors import UsageError, in_one_line
from mosaic_fl.models.own import import_factory

BATCH = 16


def make(path: str, kind: Kind) -> Encoder:
    """The encoder of the factory at an import path. Raises UsageError where it fails or returns something else.

    This runs the user's code: never call it for a received name.
    """
    factory: Any = import_factory(path)
    try:
        module = factory()
    except Exception as error:  # the user's code may raise anything
        raise UsageError(f"encoder {path} failed when called with nothing: {in_one_line(error)}") from error
    if not isinstance(module, nn.Module):
        raise UsageError(f"encoder {path} returned {type(module).__name__}, not an nn.Module")
    return of_module(path, module, kind)


def of_module(name: str, module: nn.Module, kind: Kind, settings: str = "") -> Encoder:
    """The encoder of a module from a network's inputs to (n, size); `settings` are all that its weights do not show."""
    module = module.eval().requires_grad_(False)
    digest = digest_of(name, settings, weights_digest(module.state_dict()))
    told = getattr(module, "trained_on", NOT_TOLD)
    told = told if isinstance(told, str) and is_plain(told) else NOT_TOLD
    encoder = Encoder(name, digest, 1, kind, told, _encode(name, module, kind), BATCH)
    return replace(encoder, size=_width(encoder))


def _encode(name: str, module: nn.Module, kind: Kind) -> Encode:
    def encode(values: Tensor, device: torch.device) -> Tensor:
        try:
            outputs = module.to(device)(kind.to_network(values.to(device)))
        except Exception as error:  # the user's code may raise anything
            raise UsageError(f"encoder {name} failed on {kind.summary}: {in_one_line(error)}") from error
        if not isinstance(outputs, Tensor) or outputs.ndim < 1:
            raise UsageError(f"encoder {name} returned {type(outputs).__name__}, not a tensor (n, size)")
        return outputs.to(torch.float32)

    return encode


def _width(encoder: Encoder) -> int:
    """The numbers of a vector, by a trial on values without information."""
    with torch.no_grad():
        outputs = encoder.network(encoder.of.zeros(encoder.batch), torch.device("cpu"))
    if outputs.ndim != 2 or len(outputs) != encoder.batch:
        raise UsageError(f"encoder {encoder.name} gives {tuple(outputs.shape)} for {encoder.batch}, not (n, size)")
    return outputs.shape[1]


OWN = EncoderFamily(make, frozenset({"image", "table"}), received=False)
