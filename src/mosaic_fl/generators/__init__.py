"""Generators of synthetic samples: one file a family. `base` is the common interface, `family` registers one."""

from mosaic_fl.generators.base import Generator, GeneratorSpec, build

__all__ = ["Generator", "GeneratorSpec", "build"]
