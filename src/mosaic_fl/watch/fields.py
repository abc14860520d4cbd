"""What JSON says of a value of the watch, name by name, each of its kind or refused."""

import math
from dataclasses import fields
from typing import Any

from mosaic_fl.watch.event import MAX_SECONDS, clean

MAX_COUNT = 2**53  # of what JSON can say exactly


def checked_fields(kind: type[Any], content: Any) -> dict[str, Any]:
    """The values in `content` for the dataclass `kind`, by name; names that it does not have are passed over.

    Raises ValueError for text where a number belongs, and the like, and where it is no object.
    """
    if not isinstance(content, dict):
        raise ValueError("no status: it is no object")
    values = {one.name: (one.type, content[one.name]) for one in fields(kind) if one.name in content}
    for name, (form, value) in values.items():
        if not _fits(form, value):
            raise ValueError(f"{name} is no {getattr(form, '__name__', 'value')}")
    return {name: clean(value) if form is str else value for name, (form, value) in values.items()}


def _fits(form: object, value: object) -> bool:
    if form is str:
        return isinstance(value, str)
    if form is int:
        return type(value) is int and abs(value) < MAX_COUNT
    if form is float:
        return type(value) in (int, float) and math.isfinite(value) and abs(value) <= MAX_SECONDS  # type: ignore[arg-type]
    return True
