"""Whether honest sites' samples of a class are alike, so that who is contradicted is wrong."""

from mosaic_fl.domains.schema import Schema


def is_comparable(schema: Schema) -> bool:
    """So it is for pictures, and for vectors that are not the encoding of rows.

    Rows of one class differ from site to site by themselves, and classes overlap: honest sites with tables are
    contradicted as liars are (docs/trust.md).
    """
    return not schema.holds_rows
