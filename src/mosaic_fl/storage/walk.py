"""The files below a folder, also through links. Every reader of a folder of pictures uses this walk."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mosaic_fl.errors import UsageError
from mosaic_fl.notes import note

MAX_NAMES = 3  # of links in a note


@dataclass(frozen=True)
class Walk:
    """The `files` below `folder`, and the links that the walk does not follow, all sorted by path.

    `duplicates` lead to folders that the walk reads by another path, `dangling` links to nothing.
    """

    folder: Path
    files: tuple[Path, ...]
    duplicates: tuple[Path, ...] = ()
    dangling: tuple[Path, ...] = ()

    def tell(self) -> None:
        """Note the links that the walk does not follow."""
        self._tell("not followed, as links to folders that are read anyhow", self.duplicates)
        self._tell("not read, as links to what does not exist", self.dangling)

    def _tell(self, words: str, links: tuple[Path, ...]) -> None:
        names = [str(link.relative_to(self.folder)) for link in links]
        if names:
            more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
            note(f"{words}: {', '.join(names[:MAX_NAMES])}{more} of {self.folder}")


def walk(folder: Path) -> Walk:
    """All files in `folder` and below, except hidden ones, also through links.

    Each folder is read once; by its own path where that is below `folder`, else through a link. A link to a folder that
    contains it is not followed. Raises UsageError where a folder cannot be listed.
    """
    files = list[Path]()
    duplicates = list[Path]()
    dangling = list[Path]()
    links = list[Path]()
    try:
        read = _around(folder)
        places = [folder]
        while places or links:
            if not places:  # all folders that need no link are read
                link = links.pop(0)
                (duplicates if _identity(link) in read else places).append(link)
                read.add(_identity(link))
                continue
            place = places.pop()
            for entry in _visible(place):
                path = place / entry.name
                if entry.is_symlink():
                    (links if path.is_dir() else files if path.is_file() else dangling).append(path)
                elif entry.is_dir():
                    (duplicates if _identity(path) in read else places).append(path)
                    read.add(_identity(path))
                elif entry.is_file():
                    files.append(path)
    except OSError as error:
        raise UsageError(f"cannot read {error.filename}: {error.strerror}") from error
    return Walk(folder, *(tuple(sorted(paths)) for paths in (files, duplicates, dangling)))


def leads_back(path: Path) -> bool:
    """Whether a folder is a link to a folder that contains it."""
    with suppress(OSError):
        return path.is_symlink() and _identity(path) in _around(path.parent)
    return False


def _visible(folder: Path) -> "list[os.DirEntry[str]]":
    with os.scandir(folder) as entries:
        return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)


def _around(folder: Path) -> set[tuple[int, int]]:
    """The identities of a folder and of all folders that contain it."""
    real = folder.resolve()
    return {_identity(place) for place in (real, *real.parents)}


def _identity(folder: Path) -> tuple[int, int]:
    """Device and inode, which are the same for every path to the folder."""
    status = folder.stat()
    return status.st_dev, status.st_ino
