"""The default models, for users who name none. The kind of the samples decides."""

from mosaic_fl.domains.schema import Schema


def default_models(schema: Schema) -> tuple[str, ...]:
    """Different architectures, for clients in turn."""
    return schema.kind.default_models()


def default_student(schema: Schema) -> str:
    """The global model's architecture."""
    return schema.kind.default_student()
