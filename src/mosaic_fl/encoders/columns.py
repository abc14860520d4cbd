"""`encoding`: the rows of a table as networks take them, by the schema on which all sites have agreed."""

import json

import torch
from torch import Tensor

from mosaic_fl.domains.kind import Kind, kind_from_json
from mosaic_fl.encoders.carried import Carried
from mosaic_fl.encoders.digests import digest_of
from mosaic_fl.encoders.encoder import Encoder
from mosaic_fl.encoders.family import EncoderFamily
from mosaic_fl.errors import UsageError

NAME = "encoding"
VERSION = "1"
BATCH = 1024
TRAINED_ON = "nothing: the encoding of the columns that the schema says"


def make(argument: str, kind: Kind) -> Encoder:
    """The encoder of rows of a kind, with its decoder; raises UsageError for an argument."""

    def encode(values: Tensor, device: torch.device) -> Tensor:
        return kind.to_network(values.to(device))

    digest = _digest(argument, kind, b"")
    return Encoder(
        NAME, digest, kind.shape[0], kind, TRAINED_ON, encode, BATCH, kind.to_rest, contents=lambda: {NAME: b""}
    )


def _digest(argument: str, kind: Kind, content: bytes) -> str:
    """The schema alone decides the vectors, so no content has any part in it."""
    if argument:
        raise UsageError(f"encoder {NAME}:{argument[:40]}: it has nothing after a colon")
    agreed = kind_from_json(kind.to_json())  # numbers as a reader has them: 0 and 0.0 are one
    return "" if content else digest_of(NAME, VERSION, json.dumps(agreed.to_json(), sort_keys=True))


def _carried(argument: str, kind: Kind, content: bytes) -> Encoder:
    return make(argument, kind)


COLUMNS = EncoderFamily(make, frozenset({"table"}), TRAINED_ON, carried=Carried(_digest, _carried))
