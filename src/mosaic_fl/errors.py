"""The two kinds of error a user meets; every other exception is a defect of this package."""

import difflib
from collections.abc import Iterable


class MosaicError(Exception):
    """A fault while running: one line that names the value and the way out (exit code 1)."""

    exit_code = 1


class UsageError(MosaicError):
    """A wrong input, found before any work is spent (exit code 2)."""

    exit_code = 2


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is not known: names the nearest known ones, or all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}"
    return UsageError(f"unknown {kind} {name!r}: {hint}")
