"""What everyone may know of the columns of a table: the ends of a range, or the names of categories and classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mosaic_fl.data.table.site_statistics import Range, require_words
from mosaic_fl.domains.table.column import MAX_CATEGORIES, MAX_NUMBER
from mosaic_fl.errors import UsageError, excerpt


@dataclass(frozen=True)
class Public:
    """The public `ranges` and `words` by column."""

    ranges: Mapping[str, Range] = field(default_factory=dict)
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of which something is public."""
        return (*self.ranges, *self.words)


def public_of(values: Mapping[str, Any]) -> Public:
    """From (low, high) or a list of words by column; raises UsageError for another form."""
    ranges = dict[str, Range]()
    words = dict[str, tuple[str, ...]]()
    for name, value in values.items():
        match value:
            case [int() | float() as low, int() | float() as high]:
                if not -MAX_NUMBER <= low < high <= MAX_NUMBER:
                    raise UsageError(f"the public range of {name!r} is {low}:{high}: it goes from low to high")
                ranges[name] = (float(low), float(high))
            case [*entries] if entries and all(isinstance(entry, str) for entry in entries):
                words[name] = tuple(entries)
                require_words(f"column {name!r}", words[name], MAX_CATEGORIES)
            case _:
                raise UsageError(f"{excerpt(value, 60)} is public of {name!r}: give (low, high), or a list of words")
    return Public(ranges, words)


def public_of_options(options: Sequence[str]) -> Public:
    """From texts as `age=0:120` and `stage=I,II`; raises UsageError for another form."""
    values = dict[str, Any]()
    for option in options:
        name, equals, text = (part.strip() for part in option.partition("="))
        words = [word.strip() for word in text.split(",")]
        if not (name and equals and all(words)) or name in values:
            raise UsageError(f"--public {option!r}: write NAME=LOW:HIGH or NAME=WORD,…, each column once")
        values[name] = _ends(text) or words
    return public_of(values)


def _ends(text: str) -> Range | None:
    low, _, high = text.partition(":")
    try:
        return float(low), float(high)
    except ValueError:
        return None
