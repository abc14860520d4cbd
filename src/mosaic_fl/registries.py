"""What can be named, and where it lives: one line registers a part that is built in.

Paths alone stand here, so that names can be checked without importing what they mean.
"""

from typing import TYPE_CHECKING

from mosaic_fl.registry import Registry

if TYPE_CHECKING:
    from mosaic_fl.generators.family import Family

GENERATORS: "Registry[Family]" = Registry(
    "generator",
    "mosaic_fl.generators",
    {
        "cvae": "mosaic_fl.generators.cvae:FAMILY",
        "dcgan": "mosaic_fl.generators.dcgan:UNCONDITIONAL",
        "cdcgan": "mosaic_fl.generators.dcgan:CONDITIONAL",
        "flow": "mosaic_fl.generators.flow:FAMILY",
    },
)
"""Families of generators, by the name that `generator.family` takes."""
