"""Whether honest sites' samples of a class are alike, so that who is contradicted is wrong."""

from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.vector import Vector

LAYOUT = 3  # axes of pictures


def is_comparable(schema: Schema) -> bool:
    """So it is for pictures, and for vectors that are not the encoding of rows.

    Rows of one class differ from site to site by themselves, and classes overlap: of 60 honest sites with tables one in
    ten was contradicted beyond what liars are (docs/trust.md).
    """
    kinds = [kind.of or kind if isinstance(kind, Vector) else kind for kind in schema.fields.values()]
    return all(isinstance(kind, Vector) or len(kind.shape) == LAYOUT for kind in kinds)
