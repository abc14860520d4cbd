"""Checks of the arguments that a library's user passes to a function of `api`, before any work.

Each returns the argument as the type that the package works with, or raises UsageError with its name and value.
"""

import operator
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from mosaic_fl.client.custody import Custody
from mosaic_fl.config.site_limits import read_limits
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError, excerpt
from mosaic_fl.exchange.contribution import MAX_CLIENT, Contribution
from mosaic_fl.experts.answers.function import BlackBox, FunctionExpert
from mosaic_fl.experts.kind import Expert
from mosaic_fl.storage.files import require_path, require_writable

DATA_SECTION = "data."
"""Settings that begin so say which data a command reads."""
VALIDATION = "data.validation"
"""The one of them that has an effect on data in memory too."""


def require_data(name: str, data: object) -> None:
    """Raise UsageError unless the argument is a `Dataset` with samples."""
    if not isinstance(data, Dataset):
        kind = type(data).__name__
        raise UsageError(f"{name} is of type {kind}, not a Dataset: from_arrays(images, labels) makes one")
    if not len(data):
        raise UsageError(f"{name} has no samples")


def require_contributions(values: object) -> list[Contribution]:
    """The contributions as a list; raises UsageError for anything but contributions."""
    if isinstance(values, str | bytes | Path | Contribution) or not isinstance(values, Iterable):
        raise UsageError(f"contributions are of type {type(values).__name__}, not a list of Contribution")
    contributions = list(values)
    for value in contributions:
        if not isinstance(value, Contribution):
            raise UsageError(
                f"{excerpt(value, 60)} is no Contribution: Contribution.load(path) reads one from its file"
            )
    return contributions


def client_number(client: object) -> int:
    """A client's number, of Python or numpy, as an int; raises UsageError for anything else."""
    number = _as_int(client)
    if number is None or not 0 <= number <= MAX_CLIENT:
        raise UsageError(f"client is {excerpt(client)}: give each site another whole number in 0..{MAX_CLIENT}")
    return number


def own_custody(limits: object, log: object) -> Custody:
    """The custody of arrays: a file with limits, and one for what leaves; raises UsageError for no such files.

    All that is in one log counts together, whatever the arrays are.
    """
    places = {"limits": limits, "log": log}
    for name, value in places.items():
        if value is not None and not isinstance(value, str | Path):
            raise UsageError(f"{name}={excerpt(value)}: it is the path of a file")
    if limits is not None and log is None:
        raise UsageError("limits= counts what has left by a log: give log= as well, a file to write")
    if log is not None:
        require_writable(Path(str(log)))
    own = None if limits is None else read_limits(Path(str(limits)))
    # Arrays have no place, so the log stands for one: other rows do not begin anew.
    return (
        Custody(own, None, "") if log is None else Custody(own, Path(str(log)), f"arrays of {Path(str(log)).resolve()}")
    )


def black_boxes(contributions: Sequence[Contribution], answer: object) -> dict[int, Expert]:
    """The experts of the black boxes among the contributions, by client; raises UsageError unless each has a function.

    `answer` has functions or `BlackBox`es by client, and none of a client that is no black box; None is none.
    """
    if answer is not None and not isinstance(answer, Mapping):
        raise UsageError(f"answer is {excerpt(answer)}, but it should be a dictionary, as {{1: function}}")
    boxes = {client_number(client): value for client, value in (answer or {}).items()}
    asked = {c.client: c for c in contributions if c.is_black_box}
    for client, value in boxes.items():
        if client not in asked:
            raise UsageError(f"answer has a function for client {client}, whose contribution is no black box")
        if not isinstance(value, BlackBox) and not callable(value):
            raise UsageError(f"answer[{client}] is {excerpt(value)}, but it should be a function of samples")
    for client in asked:
        if client not in boxes:
            raise UsageError(f"client {client} is a black box: give its function, as answer={{{client}: function}}")
    return {
        client: FunctionExpert(
            client, value if isinstance(value, BlackBox) else BlackBox(value), asked[client].schema.classes
        )
        for client, value in boxes.items()
    }


def whole_number(name: str, value: object) -> int:
    """A whole number, of Python or numpy, as an int; raises UsageError for anything else."""
    number = _as_int(value)
    if number is None:
        raise UsageError(f"{name} is {excerpt(value)}, but it should be a whole number")
    return number


def whole_numbers(name: str, values: object) -> list[int]:
    """A list of whole numbers, as `whole_number`."""
    return [whole_number(f"one of {name}", value) for value in _list(name, values, "[0, 1]")]


def numbers(name: str, values: object) -> list[float]:
    """A list of numbers; raises UsageError for anything else."""
    items = _list(name, values, "[0.1, 1.0]")
    for value in items:
        if isinstance(value, bool) or not isinstance(value, Real):
            raise UsageError(f"one of {name} is {excerpt(value)}, but it should be a number")
    return [float(value) for value in items]


def names(name: str, values: object, example: str) -> list[str]:
    """A list of text; raises UsageError for anything else."""
    items = _list(name, values, f"[{example!r}]")
    for value in items:
        if not isinstance(value, str):
            raise UsageError(f"one of {name} is {excerpt(value)}, but it should be text")
    return [str(value) for value in items]


def settings_of(settings: object) -> dict[str, Any]:
    """Settings by name, an empty dictionary for None; raises UsageError for anything but a dictionary."""
    values = {} if settings is None else settings
    if not isinstance(values, Mapping) or not all(isinstance(key, str) for key in values):
        raise UsageError(f'settings are {excerpt(settings)}, but they should be a dictionary, as {{"train.lr": 0.01}}')
    return dict(values)


def idle_settings(settings: Iterable[str], *sections: str) -> str:
    """The settings that have no effect on data in memory, joined for a message.

    These are the settings that say which data to read, and those that begin with one of `sections`.
    """
    return ", ".join(name for name in settings if name.startswith((DATA_SECTION, *sections)) and name != VALIDATION)


def folder(out: object) -> Path:
    """The folder to write to; raises UsageError for a value that cannot be a path."""
    if not isinstance(out, str | Path):
        raise UsageError(f"out is {excerpt(out)}, but it should be the path of a folder")
    path = Path(out)
    require_path(path)
    return path


def _as_int(value: Any) -> int | None:
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None


def _list(name: str, values: Any, example: str) -> Sequence[Any]:
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise UsageError(f"{name} is {excerpt(values)}, but it should be a list, as {example}")
    return list(values)
