"""Follow the log of a process and print its lines for the user."""

import contextlib
import re
import sys
from pathlib import Path

from mosaic_fl.notes import NOTE, note


class Tail:
    """The new lines of a log. Lines whose beginning matches `pattern` are for the user."""

    def __init__(self, path: Path, pattern: str = "mosaic: ") -> None:
        self.path = path
        self.pattern = re.compile(pattern)
        self.offset = path.stat().st_size if path.exists() else 0
        self.partial_line = b""

    def lines(self) -> list[str]:
        """The complete lines since the last call."""
        with contextlib.suppress(OSError), self.path.open("rb") as file:
            if file.seek(0, 2) < self.offset:  # renamed and started anew
                self.offset = 0
            file.seek(self.offset)
            *complete, self.partial_line = (self.partial_line + (new := file.read())).split(b"\n")
            self.offset += len(new)
            return [line.decode("utf-8", "replace") for line in complete]
        return []

    def relay(self) -> list[str]:
        """Print the new lines for the user; returns all new lines."""
        new = self.lines()
        for line in new:
            if line.startswith(NOTE):
                note(line.removeprefix(NOTE))  # prints it unless this process has printed it before
            elif self.pattern.match(line):
                print(line, file=sys.stderr, flush=True)
        return new
