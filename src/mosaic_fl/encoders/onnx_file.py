"""`FILE.onnx`: a model from a sample's values to a vector, checked and run in a process of its own as experts are."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mosaic_fl.domains.kind import Kind
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.encoders.carried import Carried
from mosaic_fl.encoders.digests import digest_of
from mosaic_fl.encoders.encoder import Encode, Encoder
from mosaic_fl.encoders.family import NOT_TOLD, EncoderFamily
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.experts.onnx.bounds import MAX_BYTES
from mosaic_fl.experts.onnx.layout import Layout, layout_of
from mosaic_fl.experts.onnx.model import Model, model_of
from mosaic_fl.storage.files import read_bytes, sha256

BATCH = 32
CLASSES = ("0", "1")  # a schema has classes; an encoder knows of none
SHORT = 12  # characters of the hash in its name


def make(path: str, kind: Kind) -> Encoder:
    """The encoder of a file. Raises UsageError where the model is refused, or gives no vectors of these values."""
    return _of_content(f"encoder {path}", kind, read_bytes(Path(path), MAX_BYTES))


def _of_content(source: str, kind: Kind, content: bytes) -> Encoder:
    schema = Schema({kind.name: kind}, CLASSES)
    try:
        model = model_of(content)
        layout = layout_of(model.facts, schema)
        outputs = _outputs(model, layout, kind, kind.zeros(BATCH))
    except MosaicError as error:
        raise UsageError(f"{source}: the ONNX model {error}") from error
    if outputs.ndim != 2 or outputs.dtype != np.float32:
        raise UsageError(f"{source} gives {outputs.dtype} {outputs.shape} for {BATCH} samples, not float32 (n, size)")
    name = f"onnx:{sha256(content)[:SHORT]}"
    digest = _digest("", kind, content)
    encode = _encode(model, layout, kind, source)
    size = outputs.shape[1]
    return Encoder(name, digest, size, kind, NOT_TOLD, encode, BATCH, contents=lambda: {name: content})


def _digest(argument: str, kind: Kind, content: bytes) -> str:
    return digest_of("onnx", content)


def _carried(argument: str, kind: Kind, content: bytes) -> Encoder:
    """The encoder of a model in a global model's file; the model runs in its own process, as a received expert does."""
    return _of_content("the model's encoder", kind, content)


def _encode(model: Model, layout: Layout, kind: Kind, source: str) -> Encode:
    def encode(values: Tensor, device: torch.device) -> Tensor:
        try:
            return torch.from_numpy(_outputs(model, layout, kind, values.cpu()).copy())
        except MosaicError as error:
            raise MosaicError(f"{source}: the ONNX model {error}") from error

    return encode


def _outputs(model: Model, layout: Layout, kind: Kind, values: Tensor) -> Any:
    return model.run(layout.batch(Samples({kind.name: kind}, {kind.name: values})))


ONNX_FILE = EncoderFamily(make, frozenset({"image", "table"}), received=False, carried=Carried(_digest, _carried))
