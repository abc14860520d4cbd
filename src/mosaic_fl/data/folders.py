"""Image folders: each sub-folder is a class. Other content is noted or refused."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.labels import tell_alike
from mosaic_fl.data.names import in_order, listing
from mosaic_fl.data.rows import READING, Rows
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import note
from mosaic_fl.storage.pictures import IMAGE_SUFFIXES
from mosaic_fl.storage.walk import Walk, leads_back, walk

# Files that operating systems put into folders.
_LITTER = {"thumbs.db", "desktop.ini", "icon\r"}
# Suffixes of documents. A file that is neither one nor an image may be a picture of a kind that is not read here.
_DOCUMENTS = {
    ".cfg", ".css", ".csv", ".db", ".doc", ".docx", ".gitignore", ".htm", ".html", ".ini", ".ipynb", ".js", ".json",
    ".jsonl", ".log", ".md", ".pdf", ".py", ".pyc", ".rst", ".sh", ".toml", ".tsv", ".txt", ".xls", ".xlsx", ".xml",
    ".yaml", ".yml",
}  # fmt: skip


@dataclass(frozen=True)
class ClassFolder:
    """A folder with all its content, at any depth."""

    path: Path
    content: Walk

    @cached_property
    def images(self) -> list[Path]:
        """The image files, by their names."""
        return [file for file in self.content.files if file.suffix.lower() in IMAGE_SUFFIXES]

    @cached_property
    def other_files(self) -> list[Path]:
        """All other files, without those of the operating system."""
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
        return [file for file in self.other_files if file.suffix.lower() not in _DOCUMENTS]


def scan(folder: Path) -> ClassFolder:
    """The content of `folder`, at any depth; raises UsageError where it cannot be listed."""
    return ClassFolder(folder, walk(folder))


def visible_folders(folder: Path) -> list[Path]:
    """The sub-folders that are not hidden, sorted; without links to a parent of `folder`."""
    try:
        children = (child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
        return sorted(child for child in children if not leads_back(child))
    except OSError as error:
        raise UsageError(f"cannot read {folder}: {error.strerror}") from error


def read_folder(folder: Path, reading: ReadingConfig = READING) -> Rows:
    """The images below `folder`: a sub-folder is a class, and its name the class's name.

    Notes name empty sub-folders, other files, images outside of classes, and folders within classes. Raises UsageError
    for a folder without sub-folders of images, and for a sub-folder whose files are all of kinds that cannot be read
    (with `reading.skip_broken` a note).
    """
    children = [scan(child) for child in visible_folders(folder)]
    classes = {child.path.name: child for child in children if child.images}
    unreadable = [child for child in children if child.unreadable and not child.images]
    if unreadable and not (reading.skip_broken and classes):
        first = unreadable[0]
        raise UsageError(
            f"{first.path} holds no image that can be read ({_kinds(first.other_files)}): convert them to PNG, or move "
            "the folder if it is no class"
        )
    if not classes:
        raise UsageError(f"{folder} has neither Parquet files nor sub-folders of images, one a class, nor a CSV list")
    _tell(folder, children, list(classes.values()))
    names = in_order(classes)
    tell_alike(names, str(folder))
    files = [(file, label) for label, name in enumerate(names) for file in classes[name].images]
    labels = np.array([label for _, label in files], np.int64)
    return Rows(str(folder), [file for file, _ in files], labels, names, coded=False)


def _tell(folder: Path, children: list[ClassFolder], classes: list[ClassFolder]) -> None:
    """Note the content of `folder` that is not read."""
    if absent := [child.path.name for child in children if not child.images]:
        note(f"no class of {folder}, as they hold no image that can be read: {listing(absent)}")
    if other_files := [file for child in classes for file in child.other_files]:
        count = f"{len(other_files)} file{'s' * (len(other_files) != 1)}"
        note(f"{count} of {folder} not read, as no images: {_kinds(other_files)}")
    loose = [file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()]
    if loose := [file for file in loose if not file.name.startswith(".")]:
        note(f"{len(loose)} image{'s' * (len(loose) != 1)} of {folder} in no class folder, not read: {loose[0].name}")
    if back := [path.name for path in folder.iterdir() if leads_back(path) and not path.name.startswith(".")]:
        note(f"no class of {folder}, as links to what it lies in: {listing(sorted(back))}")
    for child in children:
        child.content.tell()
    for child in classes:
        if child.inner:
            note(f"{child.path} is one class with all its folders: {listing(child.inner)}")


def _kinds(files: Iterable[Path]) -> str:
    """The number of files of each kind, in words."""
    counts = Counter(file.suffix.lower() or "without suffix" for file in files)
    return ", ".join(f"{count} {kind}" for kind, count in counts.most_common(5)) or "it is empty"
