"""Checks the values that JSON gives for a dataclass of the watch. `status` reads `status.json` through it."""

import math
from dataclasses import fields
from typing import Any

from mosaic_fl.watch.event import MAX_SECONDS, clean

MAX_COUNT = 2**53  # up to here JSON's numbers are exact


def check_fields(kind: type[Any], content: Any) -> dict[str, Any]:
    """The values in `content` for the fields of the dataclass `kind`, by name. Other names are ignored.

    Raises ValueError where `content` is not an object, or a value is of another type than its field.
    """
    if not isinstance(content, dict):
        raise ValueError("no status: it is no object")
    values = {item.name: (item.type, content[item.name]) for item in fields(kind) if item.name in content}
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
