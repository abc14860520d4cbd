"""What a library's user gives to a function, checked as what it should be before any work is spent on it."""

import operator
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError, shown
from mosaic_fl.exchange.contribution import MAX_CLIENT, Contribution
from mosaic_fl.storage.files import require_path

ELSEWHERE = ("data.", "data.validation")
"""What settings begin with that say which data a command reads, and the one of them that counts for anybody's data."""


def require_data(name: str, data: object) -> None:
    """Raise UsageError unless the argument is a `Dataset` with samples."""
    if not isinstance(data, Dataset):
        kind = type(data).__name__
        raise UsageError(f"{name} is of type {kind}, not a Dataset: from_arrays(images, labels) makes one")
    if not len(data):
        raise UsageError(f"{name} has no samples")


def require_contributions(values: object) -> list[Contribution]:
    """The contributions in a list; raises UsageError where it is none, or holds something else."""
    if isinstance(values, str | bytes | Path | Contribution) or not isinstance(values, Iterable):
        raise UsageError(f"contributions are of type {type(values).__name__}, not a list of Contribution")
    contributions = list(values)
    for each in contributions:
        if not isinstance(each, Contribution):
            raise UsageError(f"{shown(each, 60)} is no Contribution: Contribution.load(path) reads one from its file")
    return contributions


def client_number(client: object) -> int:
    """A client's number as Python's int, numpy's too; raises UsageError for what is none."""
    number = _whole(client)
    if number is None or not 0 <= number <= MAX_CLIENT:
        raise UsageError(f"client is {shown(client)}: give each site another whole number in 0..{MAX_CLIENT}")
    return number


def whole(name: str, value: object) -> int:
    """A whole number as Python's int, numpy's too; raises UsageError for anything else."""
    number = _whole(value)
    if number is None:
        raise UsageError(f"{name} is {shown(value)}, but it should be a whole number")
    return number


def wholes(name: str, values: object) -> list[int]:
    """A list of whole numbers, as `whole`."""
    return [whole(f"one of {name}", value) for value in _list(name, values, "[0, 1]")]


def numbers(name: str, values: object) -> list[float]:
    """A list of numbers; raises UsageError for anything else."""
    several = _list(name, values, "[0.1, 1.0]")
    for value in several:
        if isinstance(value, bool) or not isinstance(value, Real):
            raise UsageError(f"one of {name} is {shown(value)}, but it should be a number")
    return [float(value) for value in several]


def names(name: str, values: object, example: str) -> list[str]:
    """A list of text; raises UsageError for anything else."""
    several = _list(name, values, f"[{example!r}]")
    for value in several:
        if not isinstance(value, str):
            raise UsageError(f"one of {name} is {shown(value)}, but it should be text")
    return [str(value) for value in several]


def settings_of(settings: object) -> dict[str, Any]:
    """Settings by name, none for None; raises UsageError for what is no dictionary of them."""
    values = {} if settings is None else settings
    if not isinstance(values, Mapping) or not all(isinstance(key, str) for key in values):
        raise UsageError(f'settings are {shown(settings)}, but they should be a dictionary, as {{"train.lr": 0.01}}')
    return dict(values)


def without_use(settings: Iterable[str], *also: str) -> str:
    """The settings that say which data to read, or begin with one of `also`, where the data are given; in words."""
    begin, counts = ELSEWHERE
    return ", ".join(name for name in settings if name.startswith((begin, *also)) and name != counts)


def folder(out: object) -> Path:
    """Where to write; raises UsageError for what can be no path."""
    if not isinstance(out, str | Path):
        raise UsageError(f"out is {shown(out)}, but it should be the path of a folder")
    path = Path(out)
    require_path(path)
    return path


def _whole(value: Any) -> int | None:
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None


def _list(name: str, values: Any, example: str) -> Sequence[Any]:
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise UsageError(f"{name} is {shown(values)}, but it should be a list, as {example}")
    return list(values)
