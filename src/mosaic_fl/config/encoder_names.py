"""The names of public encoders, as `gabor`, and of several whose vectors are joined, as `gabor+strokes`."""

from mosaic_fl.errors import UsageError, excerpt
from mosaic_fl.registries import ENCODERS

AND = "+"
AUTO = "auto"
SMALL = "auto:small"
AUTOMATIC = (AUTO, SMALL)
"""The encoder that suits the data, and the one that suits few samples or much noise."""
MOST_PARTS = 4


def parts_of(name: str) -> list[str]:
    """The names of the encoders that are joined in `name`, which may be received; `name` alone where none are.

    A file or a factory with a plus in its name is no joined encoder: one part at least is the name of a family. Raises
    UsageError for an empty part, one that comes twice, and more than `MOST_PARTS`.
    """
    parts = name.split(AND)
    if len(parts) == 1 or not any(part.partition(":")[0] in ENCODERS for part in parts):
        return [name]
    if len(parts) > MOST_PARTS:
        raise UsageError(f"encoder {excerpt(name)} joins {len(parts)} encoders: at most {MOST_PARTS}")
    if not all(parts):
        raise UsageError(f"encoder {excerpt(name)} has an empty part: write it as gabor+strokes")
    if twice := next((part for part in parts if parts.count(part) > 1), ""):
        raise UsageError(f"encoder {excerpt(name)} has {excerpt(twice)} twice: leave one out")
    return parts
