"""Models for those who name none: the kind of the samples knows which suit it."""

from mosaic_fl.domains.schema import Schema


def default_models(schema: Schema) -> tuple[str, ...]:
    """Different architectures, for clients in turn."""
    return schema.kind.default_models()


def default_student(schema: Schema) -> str:
    """The global model's architecture."""
    return schema.kind.default_student()
