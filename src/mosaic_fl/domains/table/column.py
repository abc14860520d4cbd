"""One column of a table: its name, its type, and the range or the categories of its values."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import Any

import numpy as np

from mosaic_fl.domains.schema import MAX_NAME, require_plain
from mosaic_fl.errors import UsageError, excerpt

TYPES = ("numeric", "whole", "boolean", "category")
NUMBERS = ("numeric", "whole")  # types with a range and knots
# Bounds on a received schema, so that it cannot make a reader allocate without limit.
MAX_CATEGORIES = 1000
MAX_KNOTS = 1000
MAX_NUMBER = 1e30  # differences of such numbers are finite in float32


@dataclass(frozen=True)
class Column:
    """One column. `type` is one of "numeric", "whole", "boolean" and "category".

    A category column has `categories`, all different: its values at rest are their codes 0..k−1. A numeric or whole
    column has a range `low`..`high`, in the units of the data, and strictly increasing `knots` in it: quantiles of its
    values, between which the encoding is linear. With `missing`, a row may lack the value. Raises UsageError for
    values out of bounds.
    """

    name: str
    type: str
    categories: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    knots: tuple[float, ...] = ()
    missing: bool = False

    def __post_init__(self) -> None:
        require_plain("column", self.name)
        if not self.name:
            raise UsageError("a column has no name: each has one of its own")
        if self.type not in TYPES:
            kind = excerpt(str(self.type)[:MAX_NAME])  # all of them: the nearest of "integer" is "numeric", not "whole"
            raise UsageError(f"unknown type of column {self.name!r} {kind}: known: {', '.join(TYPES)}")
        if self.type == "category":
            self._check_categories()
        elif self.categories:
            raise UsageError(f"column {self.name!r} is {self.type}, and has categories: only a category column has")
        if self.type in NUMBERS:
            self._check_numbers()
        elif self.knots or self.low or self.high:
            raise UsageError(f"column {self.name!r} is {self.type}, and has a range: only numeric and whole ones have")

    def _check_categories(self) -> None:
        if not 1 <= len(self.categories) <= MAX_CATEGORIES:
            raise UsageError(
                f"column {self.name!r} has {len(self.categories)} categories: 1..{MAX_CATEGORIES} are used"
            )
        for category in self.categories:
            require_plain("category", category)
            if not category:
                raise UsageError(f"column {self.name!r} has a category without a name: an empty cell is a missing one")
        if len(set(self.categories)) < len(self.categories):
            raise UsageError(f"column {self.name!r} names a category twice: each has a name of its own")

    def _check_numbers(self) -> None:
        if not 2 <= len(self.knots) <= MAX_KNOTS:
            raise UsageError(f"column {self.name!r} has {len(self.knots)} knots: 2..{MAX_KNOTS} are used")
        for number in (self.low, self.high, *self.knots):
            if not (isfinite(number) and abs(number) <= MAX_NUMBER):
                raise UsageError(f"column {self.name!r} has {number} in its range or knots: −1e30..1e30 can be used")
        if any(left >= right for left, right in pairwise(map(np.float32, self.knots))):
            raise UsageError(
                f"the knots of column {self.name!r} do not increase in 32 bits: leave out those that repeat"
            )
        if not self.low <= self.knots[0] <= self.knots[-1] <= self.high:
            raise UsageError(
                f"column {self.name!r} has knots {self.knots[0]:g}..{self.knots[-1]:g} out of its range "
                f"{self.low:g}..{self.high:g}"
            )

    @property
    def grid(self) -> tuple[float, ...]:
        """The knots with the ends of the range, where the encoding bends; strictly increasing in float32."""
        inner = [knot for knot in self.knots if np.float32(self.low) < np.float32(knot) < np.float32(self.high)]
        return self.low, *inner, self.high

    @property
    def width(self) -> int:
        """The number of its values in a network: 1, or 1 a category; 1 more where it may be missing."""
        return (len(self.categories) or 1) + self.missing

    def difference(self, other: "Column") -> str:
        """The difference from another column of this name in words, as "column 'age' whole, not numeric"."""
        name = f"column {self.name!r}"
        if self.type != other.type:
            return f"{name} {self.type}, not {other.type}"
        if self.categories != other.categories:
            lacks = [category for category in other.categories if category not in self.categories]
            more = [category for category in self.categories if category not in other.categories]
            if lacks or more:
                return f"{name} {'without' if lacks else 'with'} the category {(lacks or more)[0]!r}"
            return f"{name} with its categories in another order"
        if (self.low, self.high) != (other.low, other.high):
            return f"{name} from {self.low:g} to {self.high:g}, not from {other.low:g} to {other.high:g}"
        if self.knots != other.knots:
            return f"{name} with other knots"
        words = {True: "that may be missing", False: "that is never missing"}
        return f"{name} {words[self.missing]}, not one {words[other.missing]}"

    def to_json(self) -> dict[str, Any]:
        """As JSON values, the inverse of `from_json`; what a type does not have is left out."""
        missing = {"missing": True} if self.missing else {}
        if self.type == "category":
            return {"name": self.name, "type": self.type, "categories": list(self.categories), **missing}
        if self.type == "boolean":
            return {"name": self.name, "type": self.type, **missing}
        numbers = {"low": self.low, "high": self.high, "knots": list(self.knots)}
        return {"name": self.name, "type": self.type, **numbers, **missing}

    @classmethod
    def from_json(cls, value: object) -> "Column":
        """From JSON values that may come from anywhere; raises UsageError for anything but a column."""
        match value:
            case {"name": str(name), "type": str(kind), **rest}:
                return cls(name, kind, **_details(name, rest))
        raise UsageError("a column of the schema has no name and type")


def _details(name: str, rest: Mapping[Any, Any]) -> dict[str, Any]:
    details = dict[str, Any]()
    for key, value in rest.items():
        match key, value:
            case "categories", list() if len(value) <= MAX_CATEGORIES:
                details[key] = tuple(value)
            case "knots", list() if len(value) <= MAX_KNOTS and all(map(_is_number, value)):
                details[key] = tuple(map(float, value))
            case "low" | "high", int() | float() if _is_number(value):
                details[key] = float(value)
            case "missing", bool():
                details[key] = value
            case _:
                raise UsageError(
                    f"column {name[:MAX_NAME]!r} has {excerpt(key, 40)} = {excerpt(value, 80)}: it takes no such value"
                )
    return details


def _is_number(value: object) -> bool:
    return type(value) is float or (type(value) is int and abs(value) <= MAX_NUMBER)
