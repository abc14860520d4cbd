"""The length to which private vectors are shortened: it is public, and no private sample has any part in it."""

import math

from mosaic_fl.domains.kind import Kind
from mosaic_fl.domains.vector import Vector
from mosaic_fl.encoders import gabor, strokes
from mosaic_fl.errors import UsageError, excerpt

# Vectors of procedural drawings have the length √size by the making of `gabor`; digits held out from training data of
# MNIST chose the share (docs/notes/encoders.md).
GABOR_SHARE = 0.8
STROKES_LENGTH = 4.0  # the median of procedural drawings


def clip_of(kind: Kind, setting: float) -> float:
    """The longest vector that counts: the `setting`, or where it is 0 that of the encoder.

    Raises UsageError where neither says one.
    """
    if setting:
        return setting
    name = kind.encoder.partition(":")[0] if isinstance(kind, Vector) else ""
    if isinstance(kind, Vector) and name == gabor.NAME:
        return GABOR_SHARE * math.sqrt(kind.size)
    if name == strokes.NAME:
        return STROKES_LENGTH
    of = f"encoder {excerpt(kind.encoder)}" if isinstance(kind, Vector) and kind.encoder else "vectors of no encoder"
    raise UsageError(
        f"privacy.epsilon: no length is known to which {of} can be shortened: set privacy.clip to one that public data "
        "tell, not yours, or take the encoder gabor"
    )
