"""Labels of users (numbers, text, truth values) -> class numbers 0..C−1 and the names of the classes."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from mosaic_fl.data.names import class_names, fold, in_order, listing, numbers_of, quote, unknown_class
from mosaic_fl.domains.schema import MAX_CLASSES
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import note

Array = npt.NDArray[Any]
Numbers = npt.NDArray[np.int64]
Place = Callable[[int], str]  # from a row to the words for its sample in an error

_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,18})(\.0*)?")
_FRACTION = re.compile(r"[+-]?([0-9]+[.,][0-9]*|[.,][0-9]+)([eE][+-]?[0-9]+)?")
_MOST = 2.0**62  # greater numbers are no labels, and would not fit


@dataclass(frozen=True)
class Labels:
    """The labels of n samples: `numbers` int64 (n,).

    With `names`, each number is the index of a name. Without `names`, it is the label in the source. `coded`: the
    source itself numbers its classes. It is False where the source has names alone, as for labels that are text.
    """

    numbers: Numbers
    names: tuple[str, ...] | None = None
    coded: bool = True


def read_labels(values: Array, place: Place, source: str) -> Labels:
    """Labels from (n,) or (n, 1) whole numbers, floats that are whole, truth values (0, 1) or text (sorted names).

    Raises UsageError for other types and shapes, and for the first sample that has no label or one that is not whole.
    """
    values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if values.ndim != 1:
        raise UsageError(f"labels must have one axis, (n,) or (n, 1), not the shape {values.shape}")
    if values.dtype.kind in "OSUT":
        return _of_objects([_plain(value) for value in values.tolist()], place, source)
    if values.dtype.kind in "biu":
        return Labels(_of_integers(values, place))
    if values.dtype.kind == "f":
        return Labels(_of_floats(values, place))
    raise UsageError(f"labels must be whole numbers 0..C−1 or text, but those of {source} are {values.dtype}")


def parse_labels(texts: Sequence[str], place: Place, source: str) -> Labels:
    """Labels from the cells of a text file: numbers or truth values where all are (0, 1.0; true, False), else names.

    "01" is a name: as a number it would lose its zero. Raises UsageError for an empty cell, and for numbers
    that are not whole.
    """
    if all(_DECIMAL.fullmatch(text) for text in texts):
        return Labels(_of_integers(np.array([int(text.partition(".")[0]) for text in texts], object), place))
    if all(text.casefold() in ("true", "false") for text in texts):
        return Labels(np.array([text.casefold() == "true" for text in texts], np.int64))
    if all(_DECIMAL.fullmatch(text) or _FRACTION.fullmatch(text) for text in texts):
        row = next(row for row, text in enumerate(texts) if not _DECIMAL.fullmatch(text))
        raise UsageError(f"{place(row)} has label {texts[row]}: labels are whole numbers or text")
    return _of_names(texts, place, source)


def in_classes(
    labels: Labels, classes: int | Sequence[str] | None, place: Place, source: str, option: str = "--classes "
) -> tuple[Numbers, tuple[str, ...]]:
    """One client's labels as class numbers int64 (n,) in 0..C−1, and the C names of the federation's `classes`.

    `classes` is the number of classes, or their names; with None the labels here show all classes. Names are matched to
    class names, and so are numbers where all class names are whole numbers (or true and false). Other numbers are
    positions in `classes`. Raises UsageError for a label that fits no class. With None it raises UsageError, too, for
    numbers that leave out some of 0..C−1; `option` is how the message tells users to give the classes.
    """
    if classes is None:
        if labels.names is not None:
            return labels.numbers, labels.names
        return labels.numbers, class_names(_count(labels.numbers, place, source, option))
    all_names = class_names(classes)
    if labels.names is None:
        return _positions(labels.numbers, all_names, place, source), all_names
    number = isinstance(classes, int | np.integer)
    if number and len(labels.names) == classes and not set(labels.names) <= set(all_names):
        return labels.numbers, labels.names
    if number and not set(labels.names) <= set(all_names):
        raise UsageError(
            f"{source} has the classes {listing(labels.names)}, and there are {classes} in all: give the names of all, "
            f"as {','.join(labels.names[:2])},…"
        )
    return by_name(labels, all_names, source), all_names


def by_name(labels: Labels, classes: Sequence[str], source: str) -> Numbers:
    """Named labels as numbers of `classes`; raises UsageError for a name that is none of them."""
    position = {name: label for label, name in enumerate(classes)}
    for name in labels.names or ():
        if name not in position:
            raise unknown_class(name, classes, source)
    return np.array([position[name] for name in labels.names or ()], np.int64)[labels.numbers]


def one_to_n(numbers: Numbers) -> int:
    """N where the labels that occur are exactly 1..N, else 0."""
    different = np.unique(numbers)
    return len(different) if len(different) and different[0] == 1 and different[-1] == len(different) else 0


def _positions(numbers: Numbers, classes: Sequence[str], place: Place, source: str) -> Numbers:
    """Labels without names as numbers of `classes`: by name where all class names are numbers, else unchanged."""
    positions = numbers_of(classes)
    different = np.unique(numbers)
    if positions is not None:
        for value in different.tolist():
            if value not in positions:
                raise _no_class(numbers, value, classes, place)
        return np.array([positions[value] for value in different.tolist()], np.int64)[
            np.searchsorted(different, numbers)
        ]
    for value in (different[0], different[-1]):
        if not 0 <= value < len(classes):
            raise _no_class(numbers, int(value), classes, place)
    if different[0] > 0:
        note(
            f"the least label of {source} is {different[0]}: labels count from 0, which is {quote(classes[0])}, "
            f"and {different[0]} is {quote(classes[different[0]])}"
        )
    return numbers


def _no_class(numbers: Numbers, value: int, classes: Sequence[str], place: Place) -> UsageError:
    row = int(np.flatnonzero(numbers == value)[0])
    hint = "" if numbers_of(classes) else f"; labels are 0..{len(classes) - 1}"
    if value == len(classes) and numbers.min() > 0:
        hint += f"; if labels count from 1, name the classes, as {_series(range(1, value + 1))}"
    return UsageError(f"{place(row)} has label {value}, but there are {len(classes)} classes: {listing(classes)}{hint}")


def _count(numbers: Numbers, place: Place, source: str, option: str) -> int:
    """The number of classes C of labels without names, which must contain each of 0..C−1."""
    require_bounded(numbers, place)
    labels = np.unique(numbers).tolist()
    count: int = labels[-1] + 1
    if len(labels) != count:
        absent = next(label for label in range(count) if labels[label] != label)
        raise UsageError(
            f"the labels of {source} are {listing(labels)}, and none is {absent}: say how many classes there are in "
            f"all ({option}{count}), or the names of all, as {_series(labels)}"
        )
    return count


def require_bounded(numbers: Numbers, place: Place) -> None:
    """Raise UsageError for the first label that is not in 0..9,999."""
    wrong = np.flatnonzero((numbers < 0) | (numbers >= MAX_CLASSES))
    if len(wrong):
        raise UsageError(
            f"{place(int(wrong[0]))} has label {numbers[wrong[0]]}: labels are 0..C−1, and there can be at most "
            f"{MAX_CLASSES} classes"
        )


def _series(labels: Sequence[int]) -> str:
    """Some labels as `--classes` takes them: 1,2,3,…,12."""
    return ",".join(map(str, labels)) if len(labels) < 5 else f"{labels[0]},{labels[1]},{labels[2]},…,{labels[-1]}"


def _of_objects(values: Sequence[Any], place: Place, source: str) -> Labels:
    for row, value in enumerate(values):
        if _is_missing(value):
            raise UsageError(f"{place(row)} has no label")
    if all(isinstance(value, str) for value in values):
        return _of_names(values, place, source)
    if all(isinstance(value, int) for value in values):  # bool, too
        return Labels(_of_integers(np.array(values, object), place))
    if all(isinstance(value, int | float | Decimal) for value in values):
        return Labels(_of_floats(np.array([float(value) for value in values]), place))
    kinds = sorted({type(value).__name__ for value in values})
    raise UsageError(f"labels must be whole numbers 0..C−1 or text, but those of {source} are {', '.join(kinds)}")


def _is_missing(value: Any) -> bool:
    """Whether a label is missing: None, NaN, or a missing value of pandas, which cannot be compared."""
    nothing = value is None or type(value).__name__ in ("NAType", "NaTType")
    return nothing or (isinstance(value, float | Decimal) and math.isnan(value))


def _plain(value: Any) -> Any:
    """A value as Python's own number or text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return value
    return str(value) if isinstance(value, str) else value


def _of_names(texts: Sequence[str], place: Place, source: str) -> Labels:
    for row, text in enumerate(texts):
        if not text.strip() or text == "nan":
            raise UsageError(f"{place(row)} has no label")
    names = in_order(texts)
    tell_alike(names, source)
    position = {name: label for label, name in enumerate(names)}
    return Labels(np.array([position[text] for text in texts], np.int64), names, coded=False)


def tell_alike(names: Sequence[str], source: str) -> None:
    """Note names that differ only in case, white space or leading zeros: they may be one class."""
    first = dict[str, str]()
    for name in names:
        if (earlier := first.setdefault(fold(name), name)) != name:
            note(f"{earlier!r} and {name!r} are two classes of {source}: names that differ in nothing but form")


def _of_integers(values: Array, place: Place) -> Numbers:
    wide = np.flatnonzero((values > int(_MOST)) | (values < -int(_MOST)))
    if len(wide):
        raise UsageError(f"{place(int(wide[0]))} has label {values[wide[0]]}: it is too large")
    return values.astype(np.int64)


def _of_floats(values: Array, place: Place) -> Numbers:
    wrong = np.flatnonzero(~np.isfinite(values) | (np.floor(values) != values) | (np.abs(values) > _MOST))
    if len(wrong):
        row = int(wrong[0])
        value = float(values[wrong[0]])
        if math.isnan(value):
            raise UsageError(f"{place(row)} has no label")
        raise UsageError(f"{place(row)} has label {value:g}: labels are whole numbers or text")
    return values.astype(np.int64)
