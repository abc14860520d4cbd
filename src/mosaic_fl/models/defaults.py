"""Models for those who name none."""

from mosaic_fl.data.schema import Schema

SMALL, MEDIUM = 16, 40  # pixels of the shorter side: digits; MNIST and CIFAR


def default_models(schema: Schema) -> tuple[str, ...]:
    """Five different architectures that suit the image size, cheap on a CPU, for clients in turn."""
    side = min(schema.shape[1:])
    if side <= SMALL:
        return "cnn:16", "mlp:64", "cnn:32", "mlp:128", "cnn:8"
    if side <= MEDIUM:
        return "cnn:16:3", "mlp:128", "cnn:8:3", "mlp:256:1", "cnn:16:2"
    return "cnn:16:4", "mlp:64", "cnn:8:4", "mlp:32:1", "cnn:12:4"


def default_student(schema: Schema) -> str:
    """The global model's architecture that suits the image size."""
    side = min(schema.shape[1:])
    if side <= SMALL:
        return "cnn:32"
    return "cnn:32:3" if side <= MEDIUM else "cnn:16:5"
