"""From a path to the files of a data set: one file, a folder, the parts in a folder, or files whose names begin so."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.csv_list import is_list, read_files, require_list
from mosaic_fl.data.delimited import CSV_SUFFIXES
from mosaic_fl.data.folders import scan, visible_folders
from mosaic_fl.data.names import listing
from mosaic_fl.data.part_names import WORDS, is_part_name, part_of, words_of
from mosaic_fl.data.rows import READING, Rows
from mosaic_fl.data.table.reading import is_table
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import note

ARRAYS = ".npz"  # the ending of NumPy's files with vectors and labels

# Part 3 of 8 of one data set, as the hub names it: cifar-train-00002-of-00008.parquet, or train/0002.parquet.
_SHARD = re.compile(r"(-\d{5}-of-\d{5}(-[0-9a-f]{16})?|^\d{4})$")


@dataclass(frozen=True)
class Place:
    """The data at a path: `parts` by name (train, validation, test), or `whole` where it has no parts.

    Each is a list of table files, or of one image folder.
    """

    path: Path
    whole: list[Path] = field(default_factory=list)
    parts: dict[str, list[Path]] = field(default_factory=dict)

    def training(self) -> list[Path]:
        """The training part, or the whole; raises UsageError where there is none."""
        if paths := self.whole or self.parts.get("train"):
            return paths
        names = ", ".join(paths[0].name for paths in self.parts.values())
        raise UsageError(
            f"{self.path} has {names}, but no *train*.parquet and no folder called train: give the path of what is "
            "to be learned from"
        )

    def testing(self) -> list[Path]:
        """The test part, else the validation part with a note, else empty."""
        if "test" in self.parts or "validation" not in self.parts:
            return self.parts.get("test", [])
        note(f"{self.path} has no test part: {self.names(self.parts['validation'][:1])} serves as one")
        return self.parts["validation"]

    def lists(self) -> list[Path]:
        """Its files that list images."""
        files = [*self.whole, *(file for paths in self.parts.values() for file in paths)]
        return [file for file in files if file.suffix.lower() in CSV_SUFFIXES]

    def names(self, files: Sequence[Path]) -> str:
        """The names of these files, relative to the folder, for a message."""
        return listing([file.relative_to(self.path) if self.path in file.parents else file.name for file in files])

    def tell_unlisted(self, lists: Sequence[Path], rows: Rows) -> None:
        """Note the images in the folder of these lists that are not in `rows`, unless another part is in it too."""
        folder = lists[0].parent
        if any(file.parent == folder for paths in self.parts.values() for file in paths if file not in lists):
            return
        images = {file.resolve() for file in scan(folder).images}
        images -= {picture.resolve() for picture in rows.pictures if isinstance(picture, Path)}
        if images:
            note(f"{len(images)} image{'s' * (len(images) != 1)} of {folder} are in no list: {min(images).name}")

    def tell_unread(self, *parts: str) -> None:
        """Note which of these parts are not read."""
        if unread := [path for part in parts for path in self.parts.get(part, [])]:
            note(f"not read of {self.path}: {self.names(unread)}")


def locate(path: Path, reading: ReadingConfig = READING) -> Place | None:
    """The data at `path`: a file, a folder, or files whose names begin so; None where there is nothing.

    A folder is read as its Parquet files, else as its CSV lists, else as image folders, and so is each part. Raises
    UsageError where there may be more than one data set, where parts of one are beside classes, and for a folder that
    cannot be read.
    """
    try:
        return _locate(path, reading)
    except OSError as error:  # a name that is too long, a folder without permission
        raise UsageError(f"cannot read {str(path)[:200]}: {error.strerror}") from error


def _locate(path: Path, reading: ReadingConfig) -> Place | None:
    if path.is_file():
        return Place(path, [path])
    if not path.is_dir():
        files = beginning(path)
        if files and not all(_ends(path.name, file.name[len(path.name) :]) for file in files):
            note(f"{path} is read as {listing([file.name for file in files])}")
        return _of_files(path, path.parent, files) if files else None
    if beside := beginning(path):
        note(f"{path} is taken for the folder of that name; not read: {listing([file.name for file in beside])}")
    if tables := _of_tables(path, reading) or _of_vectors(path):
        return tables
    place = _of_lists(path, reading) or _of_folders(path, reading)
    if lists := place.lists():
        note(f"{path} is read as {place.names(lists)} say{'s' * (len(lists) == 1)}")
    return place


def _tables(folder: Path, suffixes: set[str], start: str = "") -> list[Path]:
    """The files of these kinds whose names begin with `start`, sorted, without hidden ones."""
    if not folder.is_dir():
        return []
    files = (file for file in folder.iterdir() if file.suffix.lower() in suffixes and file.name.startswith(start))
    return sorted(file for file in files if not file.name.startswith(".") and file.is_file())


def beginning(path: Path) -> list[Path]:
    """The tables whose names begin with that of `path`.

    Names that go on with a part alone are preferred, then those that go on with a new word: of tiny10-train and
    tiny100-train, `tiny10` means the former.
    """
    name = path.name
    if not name:
        return []
    files = _tables(path.parent, {".parquet", ARRAYS, *CSV_SUFFIXES}, name)
    endings = {file: _SHARD.sub("", file.stem[len(name) :]) for file in files}
    part_words = {word for words in WORDS.values() for word in words}
    exact = [file for file, ending in endings.items() if _ends(name, ending) and set(words_of(ending)) <= part_words]
    exact = [file for file in exact if not re.search(r"\d", endings[file])]
    return (
        exact or [file for file, ending in endings.items() if _ends(name, ending)] or ([] if path.is_dir() else files)
    )


def _ends(name: str, ending: str) -> bool:
    """Whether a word ends between `name` and `ending`."""
    return not (name[-1:].isalnum() and ending[:1].isalnum())


def _of_files(path: Path, folder: Path, files: Sequence[Path]) -> Place:
    """Table files as parts, by their names; raises UsageError for more than one data set."""
    parts = {part: [file for file in files if part_of(file.stem) == part] for part in WORDS}
    parts = {part: group for part, group in parts.items() if group}
    unmatched = [file for file in files if part_of(file.stem) is None]
    for group in parts.values() if "train" in parts else [*parts.values(), unmatched]:
        _require_one_set(path, folder, group)
    if not parts:
        return Place(path, unmatched)
    if "train" not in parts and unmatched:
        names = ", ".join(group[0].name for group in parts.values())
        raise UsageError(
            f"{path} has {names}, but no *train*.parquet beside {listing([file.name for file in unmatched])}"
        )
    if unmatched:
        note(f"not read of {path}: {listing([file.name for file in unmatched])}")
    return Place(path, parts=parts)


def _require_one_set(path: Path, folder: Path, files: Sequence[Path]) -> None:
    """Raise UsageError unless these files are one data set: one file, or the shards of one."""
    stems = sorted({_SHARD.sub("", file.stem) for file in files})
    if len(stems) < 2 and len({file.suffix for file in files}) < 2:
        return
    start = re.split("train|test|val", stems[0], flags=re.IGNORECASE)[0].rstrip("-_. ") or stems[0]
    if path.name == start and path != folder:
        start = files[0].name
    raise UsageError(
        f"{path} holds more than one data set ({listing(stems)}): give one file, or how the names of one begin, such "
        f"as {folder / start}"
    )


def _of_tables(path: Path, reading: ReadingConfig) -> Place | None:
    """The Parquet files of a folder, with a note on other data beside them; None where there are none.

    Where samples have several fields, text files are tables as well, and the images beside them are theirs.
    """
    if reading.image_columns:
        files = _tables(path, {".parquet", *CSV_SUFFIXES})
        return _of_files(path, path, files) if files else None
    tables = _tables(path, {".parquet"})
    unmatched = [child.name for child in visible_folders(path) if scan(child).images] if tables else []
    unmatched += [file.name for file in _tables(path, CSV_SUFFIXES)]
    if tables and unmatched:
        note(f"{path} is read as its Parquet files; not read: {listing(unmatched)}")
    return _of_files(path, path, tables) if tables else None


def _of_vectors(path: Path) -> Place | None:
    """The .npz files of a folder that has no other data; None where there are none."""
    files = _tables(path, {ARRAYS})
    if not files or _tables(path, CSV_SUFFIXES) or any(scan(child).images for child in visible_folders(path)):
        return None
    return _of_files(path, path, files)


def _of_lists(path: Path, reading: ReadingConfig) -> Place | None:
    """The CSV files of a folder that list its images, unless its sub-folders are classes."""
    files = _tables(path, CSV_SUFFIXES)
    lists = [file for file in files if is_list(file, reading)]
    folders = visible_folders(path)
    if files and not lists and not any(scan(child).images for child in folders):
        if tables := [file for file in files if reading.label_column and is_table(file, reading)]:
            return _of_files(path, path, tables)
        require_list(files[0], reading)
    if unmatched := [file.name for file in files if file not in lists]:
        note(f"not read of {path}, as without columns of files and labels: {listing(unmatched)}")
    if not lists:
        return None
    parts = [child.name for child in folders if part_of(child.name) and _has_parts(child, reading)]
    classes = [child.name for child in folders if part_of(child.name) is None and scan(child).images]
    if parts or len(classes) > 1:
        raise UsageError(
            f"{path} holds {lists[0].name}, which lists images and labels, and folders that may be classes or parts "
            f"({listing([*parts, *classes])}): give --data {lists[0]}, or move that file"
        )
    return _of_files(path, path, lists)


def _of_folders(path: Path, reading: ReadingConfig) -> Place:
    """The parts of an image folder, or the whole, whose sub-folders are classes."""
    children = visible_folders(path)
    part_folders = {child: part for child in children if (part := part_of(child.name)) and is_part_name(child.name)}
    if not part_folders:
        return Place(path, [path])
    parts = {child: part for child, part in part_folders.items() if _has_parts(child, reading)}
    other_folders = [child for child in children if child not in part_folders and scan(child).images]
    names = [child.name for child in part_folders]
    if not parts and other_folders:
        note(f"taken as classes of {path}, as they hold images and no class folders: {listing(names)}")
        return Place(path, [path])
    if not parts:
        raise UsageError(
            f"{path} has the parts {listing(names)}, but no class folders in them: put the images of each class into a "
            "folder of its own, or list them in a CSV (file,label)"
        )
    if len(set(parts.values())) < len(parts):
        raise UsageError(f"{path} has {listing(names)}: two of them are the same part; give one, or move the other")
    folders = {part: child for part in WORDS for child, name in parts.items() if name == part}
    place = Place(path, parts={part: _of_part(child, part, reading) for part, child in folders.items()})
    if strange := [child.name for child in other_folders if not _is_listed(child, place, reading)]:
        raise UsageError(
            f"{path} has {listing(names)}, which are parts of a data set, and {listing(strange)}, which may be "
            f"classes: give one of them, as {next(iter(parts))}, or move the others"
        )
    if other_folders:
        note(f"not read of {path}, but for what its lists name: {listing([child.name for child in other_folders])}")
    if flat := [child.name for child in part_folders if child not in parts]:
        note(f"not read of {path}, as without class folders, tables or lists: {listing(flat)}")
    return place


def _of_part(folder: Path, part: str, reading: ReadingConfig) -> list[Path]:
    """The data in the folder of one part: tables, lists, or the folder itself, where its sub-folders are classes.

    Raises UsageError where its tables or lists are those of other parts.
    """
    place = _of_tables(folder, reading) or _of_lists(folder, reading) or Place(folder, [folder])
    files = place.whole or place.parts.get(part, [])
    if strange := [file.name for name, group in place.parts.items() if name != part for file in group]:
        raise UsageError(
            f"{folder} is a part of a data set by its name, and holds those of others by theirs ({listing(strange)}): "
            f"give --data {folder}, or move them"
        )
    return files


def _is_listed(folder: Path, place: Place, reading: ReadingConfig) -> bool:
    """Whether a list of some part names a file in `folder`."""
    real = folder.resolve()
    pictures = (picture for file in place.lists() for _, picture in read_files(file, reading) if picture)
    return any(real in picture.resolve().parents for picture in pictures)


def _has_parts(folder: Path, reading: ReadingConfig) -> bool:
    """Whether a folder holds class folders, tables, or lists of images."""
    if _tables(folder, {".parquet"}) or scan(folder).inner:
        return True
    return any(is_list(file, reading) for file in _tables(folder, CSV_SUFFIXES))
