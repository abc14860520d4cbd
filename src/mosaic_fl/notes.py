"""Notes: one line each for what a user should know although nothing is wrong, as that a column is not read.

A note is a Python warning, so that a library's user can filter it, and a test can expect it. `mosaic` prints it as
`mosaic: note: …` on stderr.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NOTE = "mosaic: note: "  # begins the line of one


class Note(UserWarning):
    """Something worth knowing that does not stop the work."""


def note(text: str) -> None:
    """Tell the user `text`, one line that names the value and, where there is one, the way out."""
    warnings.warn(text, Note, stacklevel=3)


@contextmanager
def printed() -> Iterator[None]:
    """Print each note once on stderr, as `mosaic: note: …`; other warnings go where they went before."""
    told = set[str]()
    with warnings.catch_warnings():
        show = warnings.showwarning

        def print_note(message: Warning | str, category: type[Warning], *where: Any, **options: Any) -> None:
            if not issubclass(category, Note):
                show(message, category, *where, **options)
            elif (line := " ".join(str(message).split())) not in told:
                told.add(line)
                print(f"{NOTE}{line}", file=sys.stderr, flush=True)

        warnings.simplefilter("always", Note)
        warnings.showwarning = print_note
        yield
