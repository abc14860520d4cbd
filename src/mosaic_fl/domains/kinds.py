"""The kinds of samples by name."""

from collections.abc import Callable
from typing import Any

from mosaic_fl.domains.image import Image
from mosaic_fl.domains.kind import Kind
from mosaic_fl.errors import UsageError

KINDS: dict[str, Callable[[Any], Kind]] = {Image.name: Image.from_json}
"""What reads each kind from JSON values that may come from anywhere; it raises UsageError."""


def kind_from_json(value: object) -> Kind:
    """The kind that JSON values describe; raises UsageError for one that is not known here."""
    match value:
        case {"kind": str(name)} if name in KINDS:
            return KINDS[name](value)
    raise UsageError(f"the schema has a field of a kind that is not known here (known: {', '.join(sorted(KINDS))})")
