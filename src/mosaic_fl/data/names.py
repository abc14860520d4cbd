"""Names of classes: their one order, how two of them are compared, and a file that lists them."""

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
    """The names, each once, in the order that every site gives them: as numbers if all are whole numbers, else as text.

    >>> in_order(["10", "2", "1"])
    ('1', '2', '10')
    """
    different = set(names)
    if all(_WHOLE.fullmatch(name) for name in different):
        return tuple(sorted(different, key=lambda name: (_number(name), name)))
    return tuple(sorted(different))


def numbers_of(names: Sequence[str]) -> dict[int, int] | None:
    """The label of each whole number that is a class's name; None unless all names are such, or are true and false.

    Raises UsageError where two names are one number, as 1 and 01.
    """
    if not all(isinstance(name, str) for name in names):  # a schema of them is refused
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
    """Names for labels 0..C−1: those given, or "0".."C−1" for a number C. Raises UsageError if two agree."""
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
    """The class names in a text file, one a line, which may contain commas; empty lines at its end do not count.

    Raises UsageError for a file that cannot be read, an empty line between names, and fewer than two names.
    """
    lines = [line.strip() for line in read_text(path, MOST_BYTES).rstrip().splitlines()]
    if "" in lines:
        raise UsageError(f"line {lines.index('') + 1} of {path} is empty: write one class name a line")
    if len(lines) < 2:
        raise UsageError(f"{path} names {len(lines)} class{'es' * (not lines)}: write two or more, one a line")
    return lines


def strange(name: str, classes: Sequence[str], source: str) -> UsageError:
    """The error for a class of `source` that is none of the federation's `classes`, with those it may be meant for."""
    alike = [known for known in classes if folded(known) == folded(name)]
    near = alike or difflib.get_close_matches(name, classes, n=3, cutoff=0.75)
    hint = f": did you mean {' or '.join(map(shown, near))}? Names must agree to the letter" if near else ""
    return UsageError(f"class {shown(name)} of {source} is none of the classes {listed(classes)}{hint}")


def folded(name: str) -> str:
    """What two names have in common that differ in case, white space, leading zeros or the coding of accents alone."""
    plain = re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", name)).strip().casefold()
    return re.sub(r"(?<![\d.])0+(?=\d)", "", plain)


def shown(name: str) -> str:
    """A name for a message, in quotes where its ends could not be seen."""
    return name if name and name == name.strip() and name.isprintable() else repr(name)


def listed(names: Sequence[object], most: int = 10) -> str:
    """The first few names, for a message."""
    first = ", ".join(shown(str(name)) for name in names[:most])
    return first + (f", … ({len(names)} in all)" if len(names) > most else "")


def _number(name: str) -> int:
    return int(name.partition(".")[0])
