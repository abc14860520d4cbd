"""Names of classes: their order, their comparison, their form in messages, and files that list them."""

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from mosaic_fl.data.text import read_text
from mosaic_fl.domains.schema import MAX_CLASSES, MAX_NAME
from mosaic_fl.errors import UsageError

MOST_BYTES = 8 * MAX_CLASSES * MAX_NAME  # of a file of names: four bytes a character, and room for line ends

_WHOLE = re.compile(r"[+-]?\d{1,200}(\.0{0,200})?")
_TRUTH = {"false": 0, "true": 1}


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """The names, each once, in the same order at every site: as numbers if all are whole numbers, else as text.

    >>> in_order(["10", "2", "1"])
    ('1', '2', '10')
    """
    different = set(names)
    if all(_WHOLE.fullmatch(name) for name in different):
        return tuple(sorted(different, key=lambda name: (_number(name), name)))
    return tuple(sorted(different))


def numbers_of(names: Sequence[str]) -> dict[int, int] | None:
    """The label of each class by its name as a number; None unless all names are whole numbers, or true and false.

    Raises UsageError where two names are one number, as 1 and 01.
    """
    if not all(isinstance(name, str) for name in names):  # `Schema` refuses such names
        return None
    if {name.casefold() for name in names} == set(_TRUTH):
        return {_TRUTH[name.casefold()]: label for label, name in enumerate(names)}
    if not all(_WHOLE.fullmatch(name) for name in names):
        return None
    labels = dict[int, int]()
    for label, name in enumerate(names):
        if (first := labels.setdefault(_number(name), label)) != label:
            raise UsageError(f"the classes {names[first]} and {name} are one number: labels could be either")
    return labels


def class_names(classes: int | Sequence[str]) -> tuple[str, ...]:
    """Names for labels 0..C−1: `classes`, or "0".."C−1" for a number C. Raises UsageError if two are the same."""
    if isinstance(classes, int | np.integer):  # numpy's whole numbers, too
        if classes > MAX_CLASSES:
            raise UsageError(f"{classes} classes: there can be at most {MAX_CLASSES}, with labels 0..C−1")
        return tuple(map(str, range(int(classes))))
    names = tuple(str(name) if isinstance(name, str) else name for name in classes)  # numpy's text, too
    name, count = Counter(names).most_common(1)[0] if names else ("", 0)
    if count > 1:
        raise UsageError(f"class names must differ, but {name!r} comes {count} times")
    return names


def read_names(path: Path) -> list[str]:
    """The class names in a text file, one a line, which may contain commas; empty lines at its end are ignored.

    Raises UsageError for a file that cannot be read, an empty line between names, and fewer than two names.
    """
    lines = [line.strip() for line in read_text(path, MOST_BYTES).rstrip().splitlines()]
    if "" in lines:
        raise UsageError(f"line {lines.index('') + 1} of {path} is empty: write one class name a line")
    if len(lines) < 2:
        raise UsageError(f"{path} names {len(lines)} class{'es' * (not lines)}: write two or more, one a line")
    return lines


def unknown_class(name: str, classes: Sequence[str], source: str) -> UsageError:
    """The error for a class of `source` that is none of the federation's `classes`, with the nearest ones."""
    alike = [other for other in classes if fold(other) == fold(name)]
    near = alike or difflib.get_close_matches(name, classes, n=3, cutoff=0.75)
    hint = f": did you mean {' or '.join(map(quote, near))}? Names must agree to the letter" if near else ""
    return UsageError(f"class {quote(name)} of {source} is none of the classes {listing(classes)}{hint}")


def fold(name: str) -> str:
    """A form of a name that is the same whatever its case, white space, leading zeros and coding of accents."""
    plain = re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", name)).strip().casefold()
    return re.sub(r"(?<![\d.])0+(?=\d)", "", plain)


def quote(name: str) -> str:
    """The first characters of a name for a message, in quotes where its ends would be invisible."""
    name = name if len(name) <= MAX_NAME else f"{name[:MAX_NAME]}…"
    return name if name and name == name.strip() and name.isprintable() else repr(name)


def listing(names: Sequence[object], most: int = 10) -> str:
    """The first few names, for a message."""
    first = ", ".join(quote(str(name)) for name in names[:most])
    return first + (f", … ({len(names)} in all)" if len(names) > most else "")


def _number(name: str) -> int:
    return int(name.partition(".")[0])
