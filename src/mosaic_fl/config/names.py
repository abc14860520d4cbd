"""Types of settings that name an entry of a registry; pydantic checks the name."""

from typing import Annotated, Any

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from mosaic_fl.config.attack_name import parse
from mosaic_fl.config.encoder_names import AUTOMATIC, parts_of
from mosaic_fl.config.model_names import IMPORT_PATH, is_onnx_file
from mosaic_fl.errors import UsageError
from mosaic_fl.registries import ENCODERS, GENERATORS, METHODS, NO_FAMILY, PARTITIONS, TEACHERS
from mosaic_fl.registry import Registry

UNKNOWN = "unknown_name"
"""The type of pydantic's error for a name that no entry has; its context has all `names`."""


def _name_in(registry: Registry[Any], *more: str) -> AfterValidator:
    """A check that text is a name of `registry`, or one of `more`."""

    def check(name: str) -> str:
        if name in more or name in registry:
            return name
        raise PydanticCustomError(UNKNOWN, "should be a known name", {"names": [*more, *registry]})

    return AfterValidator(check)


def _encoder(name: str) -> str:
    for part in parts_of(name):
        head = part.partition(":")[0]
        if not (name in ("", *AUTOMATIC) or head in ENCODERS or is_onnx_file(part) or IMPORT_PATH.fullmatch(part)):
            raise PydanticCustomError(UNKNOWN, "should be a known name", {"names": [*AUTOMATIC, *ENCODERS]})
    return name


def _attack(text: str) -> str:
    try:
        _ = parse(text) if text else None
    except UsageError as error:
        raise ValueError(str(error)) from error
    return text


AttackName = Annotated[str, AfterValidator(_attack)]
EncoderName = Annotated[str, AfterValidator(_encoder)]
GeneratorName = Annotated[str, _name_in(GENERATORS, *NO_FAMILY)]
MethodName = Annotated[str, _name_in(METHODS)]
PartitionName = Annotated[str, _name_in(PARTITIONS)]
TeacherName = Annotated[str, _name_in(TEACHERS)]
TeacherOrAuto = Annotated[str, _name_in(TEACHERS, "auto")]
