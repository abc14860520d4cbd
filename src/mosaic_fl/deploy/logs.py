"""What the user is told of a process that writes a log: its lines that are meant for them."""

import contextlib
import re
import sys
from pathlib import Path

from mosaic_fl.notes import NOTE, note


class Tail:
    """The lines added to a log since the last look; those that begin as the pattern `meant` says are for the user."""

    def __init__(self, path: Path, meant: str = "mosaic: ") -> None:
        self.path = path
        self.meant = re.compile(meant)
        self.place = path.stat().st_size if path.exists() else 0
        self.rest = b""

    def lines(self) -> list[str]:
        """Whole lines that are new."""
        with contextlib.suppress(OSError), self.path.open("rb") as file:
            if file.seek(0, 2) < self.place:  # put aside and begun anew
                self.place = 0
            file.seek(self.place)
            *whole, self.rest = (self.rest + (new := file.read())).split(b"\n")
            self.place += len(new)
            return [line.decode("utf-8", "replace") for line in whole]
        return []

    def relay(self) -> list[str]:
        """Show the new lines that are meant for the user; returns all new ones."""
        new = self.lines()
        for line in new:
            if line.startswith(NOTE):
                note(line.removeprefix(NOTE))  # which is told once, should this process have told it
            elif self.meant.match(line):
                print(line, file=sys.stderr, flush=True)
        return new
