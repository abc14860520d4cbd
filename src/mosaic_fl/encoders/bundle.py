"""A bundle: the bytes of a model's public encoder, in the model's own file, by the name of each part of the encoder.

With one a model predicts from pictures or rows where the encoder's package or file is absent. Nothing in it is code of
Python: numbers for networks of this package, or an ONNX model, which runs in a process of its own.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from mosaic_fl.config.encoder_names import parts_of
from mosaic_fl.domains.kind import Kind
from mosaic_fl.domains.vector import Vector
from mosaic_fl.encoders.carried import Carried, altered
from mosaic_fl.encoders.encoder import Encoder
from mosaic_fl.encoders.joined import join, joined_digest
from mosaic_fl.encoders.naming import encoder_of
from mosaic_fl.errors import UsageError, excerpt
from mosaic_fl.registries import ENCODERS

MOST = 2**28  # bytes of all parts together
AT_ONCE = 2  # encoders in memory

Bundle = Mapping[str, bytes]


def size_of(bundle: Bundle) -> int:
    """The bytes of all parts."""
    return sum(map(len, bundle.values()))


def bundle_of(kind: Vector, own: str = "") -> dict[str, bytes]:
    """The bundle of the encoder that made vectors of this kind; `own` is one that this machine's user names.

    Raises UsageError as `encoder_of`, for an encoder that is code, and for one that is larger than `MOST`.
    """
    if kind.of is None:
        raise UsageError(f"--bundle: the model takes {kind.summary} that no public encoder made: leave --bundle out")
    encoder = encoder_of(kind, own)
    if encoder.contents is None:
        raise UsageError(
            f"--bundle: encoder {excerpt(encoder.name)} is code, which no model's file holds: leave --bundle out, "
            "or export it to ONNX and take --encoder FILE.onnx at all sites"
        )
    bundle = dict(encoder.contents())
    _require_size(size_of(bundle), "--bundle: ")
    return bundle


def require_bundle(kind: Kind | None, bundle: Bundle) -> None:
    """Raise UsageError unless a received bundle is of the encoder that made vectors of this kind, by its digest.

    None of its bytes is used for more than that.
    """
    if not isinstance(kind, Vector) or kind.of is None:
        raise UsageError("holds an encoder, but takes no vectors of one")
    _require_size(size_of(bundle))
    names = parts_of(kind.encoder)
    if list(bundle) != names:
        raise UsageError(f"holds the encoders {excerpt(', '.join(bundle))}, and needs {excerpt(kind.encoder)}")
    digests = [_carried(name, kind.of).digest(_argument(name), kind.of, bundle[name]) for name in names]
    if kind.digest != (digests[0] if len(digests) == 1 else joined_digest(names, digests)):
        raise altered(kind.encoder)


def encoder_in(kind: Vector, bundle: Bundle) -> Encoder:
    """The encoder of a received bundle; raises UsageError where it cannot be made, or is another one than `kind` says.

    The last ones stay in memory.
    """
    require_bundle(kind, bundle)
    encoder = _made(kind, tuple(bundle.items()))
    if encoder.kind != kind:
        raise UsageError(f"the encoder in the file gives {encoder.kind.difference(kind)}")
    return encoder


@lru_cache(maxsize=AT_ONCE)
def _made(kind: Vector, contents: tuple[tuple[str, bytes], ...]) -> Encoder:
    of: Any = kind.of
    parts = [_carried(name, of).make(_argument(name), of, content) for name, content in contents]
    return parts[0] if len(parts) == 1 else join(parts)


def _carried(name: str, of: Kind) -> Carried:
    """How encoders of a part's family are made of such values.

    Raises UsageError for a family that would run code, and for one of other values.
    """
    family = ENCODERS.received(name.partition(":")[0])
    if family.carried is None:
        raise UsageError(f"holds the encoder {excerpt(name)}, which would be code: it is not read")
    if of.name not in family.kinds:
        raise UsageError(f"holds the encoder {excerpt(name)}, which takes no {of.summary}")
    return family.carried


def _argument(name: str) -> str:
    return name.partition(":")[2]


def _require_size(size: int, prefix: str = "") -> None:
    if size > MOST:
        raise UsageError(
            f"{prefix}the encoder has {size / 2**20:,.0f} MiB: a model's file holds {MOST // 2**20} at most"
        )
