"""One set of classes for the training and the test rows of a data set, which may name or number their classes."""

from dataclasses import replace

import numpy as np

from mosaic_fl.data.labels import by_name, one_to_n, require_bounded
from mosaic_fl.data.names import class_names, in_order, listing, numbers_of
from mosaic_fl.data.rows import Rows
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import note


def common_classes(train: Rows, test: Rows | None) -> tuple[Rows, Rows | None]:
    """Both rows with the same class names and labels int64 (n,) in 0..C−1.

    Classes are matched by name where both have names. Labels that are exactly 1..N are N classes called so, with a
    note. Raises UsageError for names that do not match, for a class without a training sample, and for a class that is
    only in the test set.
    """
    if train.names is not None:
        train, test = _match_names(train, train.names, test)
    elif test is not None and test.names is not None:
        if not test.coded:
            raise UsageError(f"{train.source} has numbers as labels, its test set the names {listing(test.names)}")
        train = _require_classes(train, test.names)
        train = replace(train, names=test.names)
    else:
        train, test = _match_numbers(train, test)
    assert train.names is not None
    _check_learnable(train, train.names, test)
    return train, test


def _match_names(train: Rows, names: tuple[str, ...], test: Rows | None) -> tuple[Rows, Rows | None]:
    """`common_classes` where the training rows have class names."""
    if test is None:
        return train, None
    if test.names is None:
        return train, _of_numbers(train, names, test)
    extra = in_order(set(test.names) - set(names))
    all_names = (*names, *extra) if train.coded else in_order((*names, *extra))
    return _with_names(train, all_names), _with_names(test, all_names)


def _with_names(rows: Rows, names: tuple[str, ...]) -> Rows:
    """The rows with the class names `names`, which contain theirs, and labels by these."""
    return replace(rows, labels=by_name(rows.to_labels(), names, rows.source), names=names)


def _of_numbers(train: Rows, names: tuple[str, ...], test: Rows) -> Rows:
    """Test rows with the class names `names`, where their labels are numbers and the training rows have names."""
    numbers = numbers_of(names)
    if numbers is not None:
        if unknown := sorted(set(test.labels.tolist()) - set(numbers)):
            raise UsageError(f"class {unknown[0]} is only in the test set of {train.source}: move samples to training")
        return replace(test, labels=np.array([numbers[label] for label in test.labels.tolist()], np.int64), names=names)
    if not train.coded:
        raise UsageError(f"{train.source} has the classes {listing(names)}, and its test set has numbers as labels")
    return replace(_require_classes(test, names), names=names)


def _match_numbers(train: Rows, test: Rows | None) -> tuple[Rows, Rows | None]:
    """`common_classes` where no rows have class names."""
    test_labels = np.empty(0, np.int64) if test is None else test.labels
    both = np.concatenate([train.labels, test_labels])
    for rows in (train, test):
        if rows is not None:
            require_bounded(rows.labels, rows.place)
    names = class_names(int(both.max()) + 1)
    first = 0
    if one_to_n(both) > 1:
        first = 1
        names = names[1:]
        note(f"the labels of {train.source} are 1..{both.max()}: the classes are called so")
    return _from_zero(train, names, first), None if test is None else _from_zero(test, names, first)


def _from_zero(rows: Rows, names: tuple[str, ...], first: int) -> Rows:
    """The rows with the class names `names`, and labels from 0 in place of `first`."""
    return replace(_require_classes(rows, names, first), labels=rows.labels - first, names=names)


def _require_classes(rows: Rows, names: tuple[str, ...], first: int = 0) -> Rows:
    """The rows; raises UsageError for a label outside `first` … `first` + C − 1."""
    wrong = np.flatnonzero((rows.labels < first) | (rows.labels >= first + len(names)))
    if len(wrong):
        row = int(wrong[0])
        raise UsageError(
            f"{rows.place(row)} has label {rows.labels[row]}, but there are {len(names)} classes: {listing(names)}"
        )
    return rows


def _check_learnable(train: Rows, names: tuple[str, ...], test: Rows | None) -> None:
    """Raise UsageError for a class without a training sample."""
    missing = sorted(set(range(len(names))) - set(np.unique(train.labels).tolist()))
    test_labels = set() if test is None else set(np.unique(test.labels).tolist())
    if test_only := [label for label in missing if label in test_labels]:
        raise UsageError(
            f"class {names[test_only[0]]} is only in the test set of {train.source}: move samples to training"
        )
    if missing:
        raise UsageError(
            f"{train.source} has no training sample of class {listing([names[label] for label in missing])}: "
            "add some, or number the classes 0..C−1 without gaps"
        )
