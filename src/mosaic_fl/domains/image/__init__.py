"""Images: reading them, their augmentation, and prior images for distillation. `kind` is the interface."""

from mosaic_fl.domains.image.kind import Image

__all__ = ["Image"]
