"""Schemas of samples that are one image."""

from mosaic_fl.domains.image.bounds import Fit
from mosaic_fl.domains.image.kind import Image
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError


def image_schema(shape: tuple[int, int, int], classes: tuple[str, ...], fit: Fit = "pad") -> Schema:
    """The schema of samples that are one image of `shape` (channels, height, width)."""
    return Schema({Image.name: Image(shape, fit)}, classes)


def image_of(schema: Schema) -> Image:
    """The images that samples of this schema are; raises UsageError where they are something else."""
    kind = schema.kind
    if not isinstance(kind, Image):
        raise UsageError(f"samples are {kind.summary}, where images are needed")
    return kind
