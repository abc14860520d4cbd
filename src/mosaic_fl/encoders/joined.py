"""`A+B`, as `gabor+strokes`: the vectors of several public encoders as one, for what each of them alone lacks.

`gabor` tells digits apart, and `strokes` decodes to pictures. A joined encoder does both.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mosaic_fl.config.encoder_names import AND
from mosaic_fl.encoders.clipping import length_of
from mosaic_fl.encoders.digests import digest_of
from mosaic_fl.encoders.encoder import Contents, Decode, Encode, Encoder
from mosaic_fl.encoders.pictures import is_recorded
from mosaic_fl.errors import UsageError

NAME = "joined"
VERSION = "1"


def join(parts: Sequence[Encoder]) -> Encoder:
    """The encoder whose vectors are those of the `parts`, of one kind of values, one after the other.

    Each part is scaled so that its vectors have the public length of the first part's, where every part has one
    (`clipping`): so none has most of the length to which private vectors are shortened. It decodes by the first part
    that can. Raises UsageError where two parts are the same encoder.
    """
    names = [part.name for part in parts]
    name = AND.join(names)
    if twice := next((part for part in names if names.count(part) > 1), ""):
        raise UsageError(f"encoder {name} has {twice} twice: leave one out")
    scales = _scales(names)
    digest = joined_digest(names, [part.digest for part in parts])
    told = "; ".join(f"{part.name}: {part.trained_on}" for part in parts)
    size = sum(part.size for part in parts)
    # Of these many values each part makes batches of its own size.
    batch = math.lcm(*(part.batch for part in parts))
    encode = _encode(parts, scales)
    decode = _decode(parts, scales)
    smooth = _smooth(parts, scales)
    return Encoder(name, digest, size, parts[0].of, told, encode, batch, decode, _contents(parts), smooth)


def joined_digest(names: Sequence[str], digests: Sequence[str]) -> str:
    """The digest of the encoder that joins those of these names and digests."""
    return digest_of(NAME, VERSION, *digests, *map(repr, _scales(names)))


def _contents(parts: Sequence[Encoder]) -> Contents | None:
    """The contents of all parts; None where a part has none."""
    every = [part.contents for part in parts if part.contents is not None]
    if len(every) < len(parts):
        return None
    return lambda: {name: content for contents in every for name, content in contents().items()}


def _scales(names: Sequence[str]) -> list[float]:
    """What the vectors of each part are multiplied by."""
    lengths = [length_of(name) for name in names]
    first = lengths[0]
    return [1.0 if first is None or None in lengths or length is None else first / length for length in lengths]


def _encode(parts: Sequence[Encoder], scales: Sequence[float]) -> Encode:
    def encode(values: Tensor, device: torch.device) -> Tensor:
        if is_recorded():  # for an export, in which the number of values is free
            return torch.cat(
                [part.network(values, device) * scale for part, scale in zip(parts, scales, strict=True)], 1
            )
        vectors = list[Tensor]()
        for part, scale in zip(parts, scales, strict=True):
            pieces = [part.network(piece, device).cpu() for piece in values.split(part.batch)]
            vectors.append(torch.cat(pieces) * scale)
        return torch.cat(vectors, 1)

    return encode


def _smooth(parts: Sequence[Encoder], scales: Sequence[float]) -> Encode | None:
    """The map of all parts with gradients; None where a part has none."""
    every = [part.smooth for part in parts if part.smooth is not None]
    if len(every) < len(parts):
        return None

    def smooth(pixels: Tensor, device: torch.device) -> Tensor:
        return torch.cat([part(pixels, device) * scale for part, scale in zip(every, scales, strict=True)], 1)

    return smooth


def _decode(parts: Sequence[Encoder], scales: Sequence[float]) -> Decode | None:
    """The decoder of the first part that has one, of its place in the joined vectors."""
    start = 0
    for part, scale in zip(parts, scales, strict=True):
        if part.decode is not None:
            return _slice_decoder(part.decode, slice(start, start + part.size), scale)
        start += part.size
    return None


def _slice_decoder(decode: Decode, place: slice, scale: float) -> Decode:
    def decode_part(vectors: Tensor) -> Tensor:
        return decode(vectors[:, place] / scale)

    return decode_part
