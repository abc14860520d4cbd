"""Global models that hold their encoder, for the fuzzer: mutants of the file, and of an encoder with its digest."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import torch
from fuzz_mutation import mutate_bytes
from fuzz_reader import Reader
from fuzz_sealed import mutate_file

from mosaic_fl.domains.image import Image
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.table import Column, Table
from mosaic_fl.domains.vector import Vector
from mosaic_fl.encoders import bundle
from mosaic_fl.encoders.naming import make_encoder
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.models import build

OF = {"gabor:1": Image((1, 4, 4)), "encoding": Table((Column("sick", "boolean"),))}


def _models(_folder: Path) -> list[bytes]:
    made = []
    for name, of in OF.items():
        schema = Schema({"vector": make_encoder(name, of).kind}, ("a", "b"))
        made.append(GlobalModel("mlp:1:1", schema, build("mlp:1:1", schema).state_dict()).bundled().to_bytes())
    return made


def _mutate(data: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    """As any file; or the encoder is another one, and the model says so."""
    if rng.random() < 0.5:
        return mutate_file(data, others, rng)
    model = GlobalModel.from_bytes(data)
    (name,) = model.bundle
    kind = model.schema.kind
    assert isinstance(kind, Vector)
    assert kind.of is not None
    content = mutate_bytes(model.bundle[name] or b"x", [], rng)
    digest = bundle._carried(name, kind.of).digest(bundle._argument(name), kind.of, content)
    schema = Schema({"vector": replace(kind, digest=digest)}, model.schema.classes)
    return replace(model, schema=schema, bundle={name: content}).to_bytes()


def _read(data: bytes, _folder: Path) -> None:
    """Read, and use for one sample where the model takes those of the corpus."""
    model = GlobalModel.from_bytes(data)
    kind = model.schema.kind
    if model.bundle and isinstance(kind, Vector) and kind.of in OF.values():
        encoder = bundle.encoder_in(kind, model.bundle)
        model.predict(torch.nan_to_num(encoder.vectors(encoder.of.zeros(1))).numpy())


BUNDLES = {"bundled-model": Reader(_models, _mutate, _read)}
