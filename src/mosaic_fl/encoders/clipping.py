"""The length to which private vectors are shortened: it is public, and no private sample has any part in it."""

import math

from mosaic_fl.config.encoder_names import parts_of
from mosaic_fl.domains.kind import Kind
from mosaic_fl.domains.table import Table
from mosaic_fl.domains.vector import Vector
from mosaic_fl.encoders import columns, efficientnet, gabor, strokes
from mosaic_fl.encoders.pictures import number_after
from mosaic_fl.errors import UsageError, excerpt

# Vectors of procedural drawings have the length √size by the making of `gabor`; digits held out from training data of
# MNIST chose the share (docs/notes/encoders.md).
GABOR_SHARE = 0.8
STROKES_LENGTH = 4.0  # the median of procedural drawings
# A vector of `efficientnet-lite0:PIXELS` of a crop of scikit-learn's two photographs has the median length 150, 120, 94
# and 86 at 64, 96, 160 and 224 pixels, which is about 1180/√PIXELS. The share is that of `gabor`.
PHOTOGRAPH_LENGTH = 1180
PHOTOGRAPH_SHARE = 0.8


def clip_of(kind: Kind, setting: float) -> float:
    """The longest vector that counts: the `setting`, or where it is 0 that of the encoder.

    Raises UsageError where neither says one.
    """
    if setting:
        return setting
    name = kind.encoder if isinstance(kind, Vector) else ""
    if name == columns.NAME and isinstance(kind, Vector) and isinstance(kind.of, Table):
        return longest_row(kind.of)
    if (length := length_of(name)) is not None:
        return length
    of = f"encoder {excerpt(name)}" if name else "vectors of no encoder"
    raise UsageError(
        f"privacy.epsilon: no length is known to which {of} can be shortened: set privacy.clip to one that public data "
        "tell, not yours, or take the encoder gabor, efficientnet-lite0 or encoding"
    )


def longest_row(table: Table) -> float:
    """The length that no encoded row of a table exceeds, by its columns alone: the root of their number.

    The numbers of a column have the length 1 at most: a position in −1..1, a truth value of ±1, or a 1 among zeros
    where its category is, or where the value is missing. So no row is shortened.
    """
    return math.sqrt(len(table.columns))


def length_of(name: str) -> float | None:
    """The public length of vectors of the encoder `name`; None where none is known.

    Vectors of n joined encoders have √n times that of the first: the others are scaled to it (`joined`).
    """
    parts = parts_of(name)
    if len(parts) > 1:
        lengths = [length_of(part) for part in parts]
        return None if lengths[0] is None or None in lengths else lengths[0] * math.sqrt(len(parts))
    head, _, argument = name.partition(":")
    if head == gabor.NAME:
        return GABOR_SHARE * math.sqrt(number_after(argument, gabor.NAME, gabor.SIZE, (1, gabor.MOST)))
    if head == strokes.NAME:
        return STROKES_LENGTH
    if head == efficientnet.NAME:
        pixels = number_after(argument, efficientnet.NAME, efficientnet.PIXELS, efficientnet.SIDES)
        return PHOTOGRAPH_SHARE * PHOTOGRAPH_LENGTH / math.sqrt(pixels)
    return None
