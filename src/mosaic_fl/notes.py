"""Notes: one line each, for what a user should know although nothing is wrong. "Column x is not read" is one.

A note is a Python warning, so that a library's user can filter it, and a test can expect it. `mosaic` prints it as
`mosaic: note: …` on stderr.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NOTE = "mosaic: note: "  # the beginning of a printed note
_printed = dict[str, None]()  # in their order


class Note(UserWarning):
    """Something worth knowing that does not stop the work."""


def note(text: str) -> None:
    """Tell the user `text`, one line that names the value and, where there is one, the way out."""
    warnings.warn(text, Note, stacklevel=3)


def printed_notes() -> list[str]:
    """The notes that `print_notes` has printed since it began."""
    return list(_printed)


@contextmanager
def print_notes() -> Iterator[None]:
    """Print each note once on stderr, as `mosaic: note: …`; other warnings are shown as before."""
    _printed.clear()
    with warnings.catch_warnings():
        show = warnings.showwarning

        def print_note(message: Warning | str, category: type[Warning], *where: Any, **options: Any) -> None:
            if not issubclass(category, Note):
                show(message, category, *where, **options)
            elif (line := " ".join(str(message).split())) not in _printed:
                _printed[line] = None
                print(f"{NOTE}{line}", file=sys.stderr, flush=True)

        warnings.simplefilter("always", Note)
        warnings.showwarning = print_note
        yield
