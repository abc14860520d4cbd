"""A public encoder by its name: `gabor`, `gabor+strokes`, `FILE.onnx`, `package.module:factory`, `auto` …"""

from functools import lru_cache
from typing import Any

from mosaic_fl.config.encoder_names import AUTOMATIC, SMALL, parts_of
from mosaic_fl.config.model_names import IMPORT_PATH, is_onnx_file
from mosaic_fl.domains.kind import Kind
from mosaic_fl.domains.vector import Vector
from mosaic_fl.encoders.encoder import Encoder
from mosaic_fl.encoders.family import NOT_TOLD
from mosaic_fl.encoders.joined import join
from mosaic_fl.errors import UsageError, excerpt, unknown
from mosaic_fl.registries import ENCODERS

GREY = "gabor"
GREY_SMALL = "gabor:64"
COLOUR = "efficientnet-lite0"
TABLE = "encoding"
COLOURS = 3  # channels
AT_ONCE = 4  # encoders in memory

_statements: dict[str, str] = {}  # what encoders that were made here were trained on, by digest


def make_encoder(name: str, kind: Kind) -> Encoder:
    """The encoder that this machine's user names, for values of a kind; "auto" and "auto:small" are ones that suit.

    Raises UsageError for an unknown name, for one that does not fit the values, and for a package that is lacking.
    """
    if kind.name == Vector.name:
        raise UsageError(f"the data are {kind.summary} already: leave out the encoder {name}")
    frozen: Any = kind  # as every kind is
    return _made(choose_encoder(kind, small=name == SMALL) if name in AUTOMATIC else name, frozen)


def choose_encoder(kind: Kind, *, small: bool = False) -> str:
    """The name that "auto" means, or "auto:small" of `small`; raises UsageError for a kind that no encoder suits."""
    if kind.name == "table":
        return TABLE
    if kind.name != "image":
        raise UsageError(f"no public encoder suits {kind.summary}: name one")
    if kind.shape[0] == COLOURS:
        return COLOUR
    return GREY_SMALL if small else GREY


def encoder_of(kind: Vector, own: str = "") -> Encoder:
    """The encoder that made vectors of this kind, which may be received; `own` is one that this machine's user names.

    Raises UsageError where the vectors are of no encoder, where it must be named here, and where its digest differs.
    """
    if not kind.encoder or kind.of is None:
        raise UsageError(f"these are {kind.summary} that no public encoder made: give vectors")
    if not own:
        require_built_in(kind.encoder)
    encoder = make_encoder(own or kind.encoder, kind.of)
    if encoder.kind != kind:
        raise UsageError(f"the encoder here gives {encoder.kind.difference(kind)}: use the same one")
    return encoder


def require_built_in(name: str) -> None:
    """Raise UsageError for a name, which may be received, by which no encoder is made unless a user here says so."""
    if not all(_is_built_in(part) for part in parts_of(name)):
        raise UsageError(
            f"encoder {excerpt(name)} is not built in: name the same one here, by --encoder, or encode the samples "
            "first (mosaic_fl.encode)"
        )


def is_made(digest: str) -> bool:
    """Whether the encoder with this digest was made in this process, since its user named it."""
    return digest in _statements


def trained_on(kind: Vector) -> str:
    """What the encoder of vectors has learnt from, in words; the kind may be received.

    An encoder of the user's own says it where it was made in this process.
    """
    if kind.digest in _statements:
        return _statements[kind.digest]
    told = [(part, _statement_of(part)) for part in parts_of(kind.encoder)]
    return told[0][1] if len(told) == 1 else "; ".join(f"{part}: {statement}" for part, statement in told)


def _is_built_in(name: str) -> bool:
    """Whether the name of one encoder, which may be received, may make it."""
    return _is_registered(name) and ENCODERS.received(name.partition(":")[0]).received


def _statement_of(name: str) -> str:
    return ENCODERS.received(name.partition(":")[0]).trained_on if _is_registered(name) else NOT_TOLD


def _is_registered(name: str) -> bool:
    return name.partition(":")[0] in ENCODERS.local_names


@lru_cache(maxsize=AT_ONCE)
def _made(name: str, kind: Kind) -> Encoder:
    parts = parts_of(name)
    if len(parts) > 1:
        frozen: Any = kind
        encoder = join([_made(part, frozen) for part in parts])
        _statements[encoder.digest] = encoder.trained_on
        return encoder
    head, _, argument = name.partition(":")
    if is_onnx_file(name):
        head, argument = "onnx", name
    elif head not in ENCODERS and IMPORT_PATH.fullmatch(name):
        head, argument = "module", name
    if head not in ENCODERS:
        raise unknown("encoder", name[:60], [*AUTOMATIC, *ENCODERS])
    family = ENCODERS[head]
    if kind.name not in family.kinds:
        kinds = " or ".join(sorted(family.kinds))
        raise UsageError(f"encoder {name} takes samples of the kind {kinds}, and these are {kind.summary}")
    encoder = family.make(argument, kind)
    _statements[encoder.digest] = encoder.trained_on
    return encoder
