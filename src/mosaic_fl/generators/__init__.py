"""Generators of synthetic samples: one file a family, one small protocol."""

from mosaic_fl.generators.base import Generator, GeneratorSpec, build

__all__ = ["Generator", "GeneratorSpec", "build"]
