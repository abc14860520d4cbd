"""Image folders: a sub-folder is a class, and what cannot be one is told or refused."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.labels import tell_alike
from mosaic_fl.data.names import in_order, listed
from mosaic_fl.data.rows import READING, Rows
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import note
from mosaic_fl.storage.pictures import IMAGE_SUFFIXES
from mosaic_fl.storage.walk import Walk, leads_back, walk

# Files that a system leaves in every folder.
_LITTER = {"thumbs.db", "desktop.ini", "icon\r"}
# What may lie in a folder that is no class. Any other file may be a picture of a kind that is not read here.
_DOCUMENTS = {
    ".cfg", ".css", ".csv", ".db", ".doc", ".docx", ".gitignore", ".htm", ".html", ".ini", ".ipynb", ".js", ".json",
    ".jsonl", ".log", ".md", ".pdf", ".py", ".pyc", ".rst", ".sh", ".toml", ".tsv", ".txt", ".xls", ".xlsx", ".xml",
    ".yaml", ".yml",
}  # fmt: skip


@dataclass(frozen=True)
class ClassFolder:
    """A folder with all that is in it and below."""

    path: Path
    content: Walk

    @cached_property
    def images(self) -> list[Path]:
        """The image files, by their names."""
        return [file for file in self.content.files if file.suffix.lower() in IMAGE_SUFFIXES]

    @cached_property
    def others(self) -> list[Path]:
        """All other files, but for those that a system leaves everywhere."""
        kinds = (file for file in self.content.files if file.suffix.lower() not in IMAGE_SUFFIXES)
        return [file for file in kinds if file.name.lower() not in _LITTER]

    @property
    def inner(self) -> list[str]:
        """The sub-folders that hold images."""
        depth = len(self.path.parts)
        return sorted({file.parts[depth] for file in self.images if len(file.parts) > depth + 1})

    @property
    def unreadable(self) -> list[Path]:
        """The files that may be pictures of a kind that is not read here."""
        return [file for file in self.others if file.suffix.lower() not in _DOCUMENTS]


def scan(folder: Path) -> ClassFolder:
    """What is in `folder` and below; raises UsageError where it cannot be listed."""
    return ClassFolder(folder, walk(folder))


def visible_folders(folder: Path) -> list[Path]:
    """The sub-folders that are not hidden, sorted; a link to what `folder` lies in is none."""
    try:
        children = (child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
        return sorted(child for child in children if not leads_back(child))
    except OSError as error:
        raise UsageError(f"cannot read {folder}: {error.strerror}") from error


def read_folder(folder: Path, reading: ReadingConfig = READING) -> Rows:
    """The images below `folder`: a sub-folder is a class, and its name the class's name.

    Told: empty sub-folders, other files, images outside of classes, folders within classes. Raises UsageError for a
    folder without sub-folders of images, and for a sub-folder all of whose files are of kinds that cannot be read (with
    `reading.skip_broken` that is told, too).
    """
    children = [scan(child) for child in visible_folders(folder)]
    held = {child.path.name: child for child in children if child.images}
    lost = [child for child in children if child.unreadable and not child.images]
    if lost and not (reading.skip_broken and held):
        raise UsageError(
            f"{lost[0].path} holds no image that can be read ({_kinds(lost[0].others)}): convert them to PNG, or move "
            "the folder if it is no class"
        )
    if not held:
        raise UsageError(f"{folder} has neither Parquet files nor sub-folders of images, one a class, nor a CSV list")
    _tell(folder, children, list(held.values()))
    names = in_order(held)
    tell_alike(names, str(folder))
    files = [(file, label) for label, name in enumerate(names) for file in held[name].images]
    labels = np.array([label for _, label in files], np.int64)
    return Rows(str(folder), [file for file, _ in files], labels, names, coded=False)


def _tell(folder: Path, children: list[ClassFolder], held: list[ClassFolder]) -> None:
    """Note all that is in `folder` and not read."""
    if absent := [child.path.name for child in children if not child.images]:
        note(f"no class of {folder}, as they hold no image that can be read: {listed(absent)}")
    if others := [file for child in held for file in child.others]:
        note(f"{len(others)} file{'s' * (len(others) != 1)} of {folder} not read, as no images: {_kinds(others)}")
    loose = [file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()]
    if loose := [file for file in loose if not file.name.startswith(".")]:
        note(f"{len(loose)} image{'s' * (len(loose) != 1)} of {folder} in no class folder, not read: {loose[0].name}")
    if back := [path.name for path in folder.iterdir() if leads_back(path) and not path.name.startswith(".")]:
        note(f"no class of {folder}, as links to what it lies in: {listed(sorted(back))}")
    for child in children:
        child.content.tell()
    for child in held:
        if child.inner:
            note(f"{child.path} is one class with all its folders: {listed(child.inner)}")


def _kinds(files: Iterable[Path]) -> str:
    """How many files there are of each kind."""
    counts = Counter(file.suffix.lower() or "without suffix" for file in files)
    return ", ".join(f"{count} {kind}" for kind, count in counts.most_common(5)) or "it is empty"
