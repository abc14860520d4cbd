"""What vectors are made of: the kind of values that a public encoder encodes, and their schema."""

from mosaic_fl.domains.kind import Kind
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.vector import Vector


def encoded_kind(schema: Schema) -> Kind | None:
    """The kind of values whose vectors samples of a schema are; None for other samples."""
    kind = next(iter(schema.fields.values()))
    return kind.of if len(schema.fields) == 1 and isinstance(kind, Vector) else None


def raw_schema(schema: Schema, of: Kind) -> Schema:
    """The schema of the values that are encoded."""
    return Schema({of.name: of}, schema.classes)


def space_of(schema: Schema) -> Vector | None:
    """The kind of the vectors that samples of a schema are; None for samples of other or of several fields."""
    kind = next(iter(schema.fields.values()))
    return kind if len(schema.fields) == 1 and isinstance(kind, Vector) else None
