"""Settings that name an entry of a registry, as pydantic checks them."""

from typing import Annotated, Any

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from mosaic_fl.registries import GENERATORS, METHODS, NO_FAMILY, PARTITIONS, TEACHERS
from mosaic_fl.registry import Registry

UNKNOWN = "unknown_name"
"""The type of pydantic's error for a name that no entry has; its context has the `known` ones."""


def _named(registry: Registry[Any], *others: str) -> AfterValidator:
    """A check that text is a name of `registry`, or one of `others`."""

    def check(name: str) -> str:
        if name in others or name in registry:
            return name
        raise PydanticCustomError(UNKNOWN, "should be a known name", {"known": [*others, *registry]})

    return AfterValidator(check)


GeneratorName = Annotated[str, _named(GENERATORS, *NO_FAMILY)]
MethodName = Annotated[str, _named(METHODS)]
PartitionName = Annotated[str, _named(PARTITIONS)]
TeacherName = Annotated[str, _named(TEACHERS)]
TeacherOrAuto = Annotated[str, _named(TEACHERS, "auto")]
