"""What the user is told of a process that writes a log: its lines that are meant for them."""

import contextlib
import sys
from pathlib import Path


class Tail:
    """The lines added to a log since the last look."""

    def __init__(self, path: Path, starts: tuple[str, ...] = ("mosaic: ",)) -> None:
        self.path, self.starts = path, starts
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
            if line.startswith(self.starts):
                print(line, file=sys.stderr, flush=True)
        return new
