"""The kinds of error a user meets; every other exception is a defect of this package."""

import difflib
from collections.abc import Iterable

MAX_VALUE = 200  # characters of a value in an error
MAX_NEAR = 100  # characters of a name that is compared with others: the time grows with their product


class MosaicError(Exception):
    """A fault while running: one line that names the value and the way out (exit code 1)."""

    exit_code = 1


class UsageError(MosaicError):
    """A wrong input, refused before any work (exit code 2)."""

    exit_code = 2


class RefusalError(UsageError):
    """A request beyond a site's own limits. Its text has names of settings and numbers alone, so the server sees it."""


class WaitingError(MosaicError):
    """Work that stops until something arrives, and then goes on: no fault (exit code 3)."""

    exit_code = 3


def in_one_line(error: BaseException) -> str:
    """The message of an error in one line; for an error that is not of this package, its type as well."""
    text = " ".join(str(error).split())
    return text if isinstance(error, MosaicError) else f"{type(error).__name__}: {text}".removesuffix(": ")


def unknown(kind: str, name: str, names: Iterable[str]) -> UsageError:
    """The error for a name that is none of `names`: it lists the nearest ones, or all of them."""
    choices = sorted(names)
    near = difflib.get_close_matches(name[:MAX_NEAR], choices, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(choices)}"
    return UsageError(f"unknown {kind} {excerpt(name)}: {hint}")


def excerpt(value: object, most: int = MAX_VALUE) -> str:
    """The first `most` characters of `repr(value)`, for an error; the value may be of any type and size."""
    try:
        text = repr(value if not isinstance(value, str | bytes) else value[: most + 1])
    except (RecursionError, ValueError):  # nested too deeply, or a number of too many digits
        return f"a {type(value).__name__}"
    return text if len(text) <= most + 2 else f"{text[:most]}…"
