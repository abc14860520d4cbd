"""The base classes of the sections of the configuration, and the readers of a section."""

from enum import StrEnum
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class Reader(StrEnum):
    """A reader of a section. What a site reads travels to it. A site's answers depend on what its training reads."""

    TRAINING = "a site's training"
    AGGREGATOR = "a site's aggregator"
    SERVER = "the server"
    SIMULATION = "a simulation"


SITE = frozenset({Reader.TRAINING, Reader.AGGREGATOR})
"""Readers at a site."""


class Section(BaseModel):
    """The settings of one stage. They are frozen, and an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ReadSection(Section):
    """A section of a run's configuration, with its `readers`.

    Where a site is among them, it reads the settings `site_fields`, or all if `site_fields` is empty.
    """

    readers: ClassVar[frozenset[Reader]]
    site_fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        if not getattr(cls, "readers", None):
            raise TypeError(f"{cls.__name__} does not say who reads it: set readers")
