"""Images: 8-bit pixels, how they are varied, and public ones to distil on."""

from mosaic_fl.domains.image.kind import Image

__all__ = ["Image"]
