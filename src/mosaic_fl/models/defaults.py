"""The default models, for users who name none. The kind of the samples decides."""

from mosaic_fl.config.model_names import JOINING
from mosaic_fl.domains.schema import Schema

# of networks that join fields: encoders as wide as the default networks of one field
CLIENT_WIDTH = 64
STUDENT_WIDTH = 128


def default_models(schema: Schema) -> tuple[str, ...]:
    """Different architectures, for clients in turn."""
    return (f"{JOINING}:{CLIENT_WIDTH}",) if schema.joins else schema.kind.default_models()


def default_student(schema: Schema) -> str:
    """The global model's architecture."""
    return f"{JOINING}:{STUDENT_WIDTH}" if schema.joins else schema.kind.default_student()
