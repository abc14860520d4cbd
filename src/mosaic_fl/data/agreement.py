"""The classes that the training and the test rows of one data set have in common."""

from dataclasses import replace

import numpy as np

from mosaic_fl.data.labels import by_name, one_to_n, require_bounded
from mosaic_fl.data.names import class_names, in_order, listed, numbers_of
from mosaic_fl.data.rows import Rows
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import note


def common_classes(train: Rows, test: Rows | None) -> tuple[Rows, Rows | None]:
    """Both with the same names, one a class, and labels int64 (n,) in 0..C−1: by name, where both have names.

    Labels that are exactly 1..N are N classes of these names, which is told. Raises UsageError for names that do not
    fit each other, a class without a training sample, and one that is only in the test set.
    """
    if train.names is not None:
        train, test = _named(train, train.names, test)
    elif test is not None and test.names is not None:
        if not test.coded:
            raise UsageError(f"{train.source} has numbers as labels, its test set the names {listed(test.names)}")
        train = _checked(train, test.names)
        train = replace(train, names=test.names)
    else:
        train, test = _numbered(train, test)
    assert train.names is not None
    _check_learnable(train, train.names, test)
    return train, test


def _named(train: Rows, names: tuple[str, ...], test: Rows | None) -> tuple[Rows, Rows | None]:
    """Where the training rows name their classes."""
    if test is None:
        return train, None
    if test.names is None:
        return train, _of_numbers(train, names, test)
    extra = in_order(set(test.names) - set(names))
    everybody = (*names, *extra) if train.coded else in_order((*names, *extra))
    return _renamed(train, everybody), _renamed(test, everybody)


def _renamed(rows: Rows, names: tuple[str, ...]) -> Rows:
    """The same rows with labels among these names, which have all of theirs."""
    return replace(rows, labels=by_name(rows.labelled(), names, rows.source), names=names)


def _of_numbers(train: Rows, names: tuple[str, ...], test: Rows) -> Rows:
    """Test rows whose labels are numbers, where the training rows have names."""
    numbers = numbers_of(names)
    if numbers is not None:
        if unknown := sorted(set(test.labels.tolist()) - set(numbers)):
            raise UsageError(f"class {unknown[0]} is only in the test set of {train.source}: move samples to training")
        return replace(test, labels=np.array([numbers[label] for label in test.labels.tolist()], np.int64), names=names)
    if not train.coded:
        raise UsageError(f"{train.source} has the classes {listed(names)}, and its test set has numbers as labels")
    return replace(_checked(test, names), names=names)


def _numbered(train: Rows, test: Rows | None) -> tuple[Rows, Rows | None]:
    """Where nothing has names."""
    tested = np.empty(0, np.int64) if test is None else test.labels
    both = np.concatenate([train.labels, tested])
    for rows in (train, test):
        if rows is not None:
            require_bounded(rows.labels, rows.place)
    names = class_names(int(both.max()) + 1)
    first = 0
    if one_to_n(both) > 1:
        first = 1
        names = names[1:]
        note(f"the labels of {train.source} are 1..{both.max()}: the classes are called so")
    return _counted(train, names, first), None if test is None else _counted(test, names, first)


def _counted(rows: Rows, names: tuple[str, ...], first: int) -> Rows:
    return replace(_checked(rows, names, first), labels=rows.labels - first, names=names)


def _checked(rows: Rows, names: tuple[str, ...], first: int = 0) -> Rows:
    """The same rows; raises UsageError for a label that is none of these classes, the first of which is `first`."""
    wrong = np.flatnonzero((rows.labels < first) | (rows.labels >= first + len(names)))
    if len(wrong):
        row = int(wrong[0])
        raise UsageError(
            f"{rows.place(row)} has label {rows.labels[row]}, but there are {len(names)} classes: {listed(names)}"
        )
    return rows


def _check_learnable(train: Rows, names: tuple[str, ...], test: Rows | None) -> None:
    """Raise UsageError for a class without a training sample."""
    missing = sorted(set(range(len(names))) - set(np.unique(train.labels).tolist()))
    tested = set() if test is None else set(np.unique(test.labels).tolist())
    if only := [label for label in missing if label in tested]:
        raise UsageError(f"class {names[only[0]]} is only in the test set of {train.source}: move samples to training")
    if missing:
        raise UsageError(
            f"{train.source} has no training sample of class {listed([names[label] for label in missing])}: "
            "add some, or number the classes 0..C−1 without gaps"
        )
