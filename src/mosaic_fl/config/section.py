"""What every section of the configuration is, and who reads it."""

from enum import StrEnum
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class Reader(StrEnum):
    """Who reads a section. What a site reads travels to it; what its training reads, its answers depend on."""

    TRAINING = "a site's training"
    AGGREGATOR = "a site's aggregator"
    SERVER = "the server"
    SIMULATION = "a simulation"


SITE = frozenset({Reader.TRAINING, Reader.AGGREGATOR})
"""Readers at a site."""


class Section(BaseModel):
    """One stage's knobs: frozen, and a name that does not exist is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ReadSection(Section):
    """A section of a run's configuration, which says who reads it.

    `site_fields` are those settings alone that a site reads where the others are not for it; empty: all of them, where
    a site is among `readers`.
    """

    readers: ClassVar[frozenset[Reader]]
    site_fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        if not getattr(cls, "readers", None):
            raise TypeError(f"{cls.__name__} does not say who reads it: set readers")
