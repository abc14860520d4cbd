"""The files below a folder, links followed: the one way in which a folder of pictures is looked through."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mosaic_fl.errors import UsageError
from mosaic_fl.notes import note

NAMED = 3  # links that a note names


@dataclass(frozen=True)
class Walk:
    """The `files` below `folder`, and its links that are not followed, all sorted by path.

    `again` are links to folders that are read anyhow, `lost` those that lead nowhere.
    """

    folder: Path
    files: tuple[Path, ...]
    again: tuple[Path, ...] = ()
    lost: tuple[Path, ...] = ()

    def tell(self) -> None:
        """Note the links that are not followed."""
        self._tell("not followed, as links to folders that are read anyhow", self.again)
        self._tell("not read, as links to what does not exist", self.lost)

    def _tell(self, words: str, links: tuple[Path, ...]) -> None:
        names = [str(link.relative_to(self.folder)) for link in links]
        if names:
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            note(f"{words}: {', '.join(names[:NAMED])}{more} of {self.folder}")


def walk(folder: Path) -> Walk:
    """All files in `folder` and below, but for what is hidden; links are followed.

    Each folder is read once, by its own path where it has one here, and never one that a link to it lies in. Raises
    UsageError where a folder cannot be listed.
    """
    files = list[Path]()
    again = list[Path]()
    lost = list[Path]()
    links = list[Path]()
    try:
        read = _around(folder)
        places = [folder]
        while places or links:
            if not places:  # all that needs no link is read
                link = links.pop(0)
                (again if _identity(link) in read else places).append(link)
                read.add(_identity(link))
                continue
            place = places.pop()
            for entry in _visible(place):
                path = place / entry.name
                if entry.is_symlink():
                    (links if path.is_dir() else files if path.is_file() else lost).append(path)
                elif entry.is_dir():
                    (again if _identity(path) in read else places).append(path)
                    read.add(_identity(path))
                elif entry.is_file():
                    files.append(path)
    except OSError as error:
        raise UsageError(f"cannot read {error.filename}: {error.strerror}") from error
    return Walk(folder, *(tuple(sorted(paths)) for paths in (files, again, lost)))


def leads_back(path: Path) -> bool:
    """Whether a folder is a link to one that it lies in."""
    with suppress(OSError):
        return path.is_symlink() and _identity(path) in _around(path.parent)
    return False


def _visible(folder: Path) -> "list[os.DirEntry[str]]":
    with os.scandir(folder) as entries:
        return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)


def _around(folder: Path) -> set[tuple[int, int]]:
    """What the system calls a folder and those that it lies in."""
    real = folder.resolve()
    return {_identity(place) for place in (real, *real.parents)}


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
