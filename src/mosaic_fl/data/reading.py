"""Parquet files, image folders and hub data sets -> rows of encoded pictures with labels.

Parquet is read with pyarrow, not through `datasets`, which would leave a copy of the data in the user's
cache; image folders by their names alone, because `datasets` takes a class folder that is called "train" or
"test" for a split. Nothing here unpickles or runs what it reads.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mosaic_fl.data.opening import Picture
from mosaic_fl.data.parquet import as_parquet, read_table
from mosaic_fl.data.schema import MAX_CLASSES
from mosaic_fl.errors import UsageError
from mosaic_fl.files import require_file

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "fine_label")
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm"}

# Part 3 of 8 of one data set, as the hub names it: cifar-train-00002-of-00008.parquet.
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")


def is_data(path: Path) -> bool:
    """Whether a file of that name is taken for data where its folder is read."""
    return path.suffix.lower() in {*IMAGE_SUFFIXES, ".parquet"}


@dataclass(frozen=True)
class Rows:
    """Labelled pictures, not yet decoded: n of them, with labels int64 (n,) ≥ 0.

    `names` holds one class name per label 0..C−1, or is None where the source has none.
    """

    source: str
    pictures: Sequence[Picture]
    labels: npt.NDArray[np.int64]
    names: tuple[str, ...] | None


def read_parquet(files: Sequence[Path]) -> Rows:
    """The rows of one or more Parquet files in the Hugging Face image convention, in this order.

    Raises UsageError for a file that is none, that has no rows, or whose labels are not integers ≥ 0.
    """
    parts = list[Rows]()
    for file in files:
        with as_parquet(str(file)):
            parts.append(rows_of_table(_table(file, IMAGE_COLUMNS, LABEL_COLUMNS), str(file)))
    if len(parts) == 1:
        return parts[0]
    if any(part.names != parts[0].names for part in parts):
        raise UsageError(f"{files[0]} and the files next to it name different classes: they are no one data set")
    return Rows(
        str(files[0].parent),
        [picture for part in parts for picture in part.pictures],
        np.concatenate([part.labels for part in parts]),
        parts[0].names,
    )


def read_folder(folder: Path, names: Sequence[str] | None = None) -> Rows:
    """The images below `folder`: a sub-folder is a class, and its name the class's name.

    `names` fixes the classes and their order; None: the sub-folders' names, sorted. Raises UsageError for a
    folder without sub-folders of images, and for one that is not in `names`.
    """
    found = class_folders(folder)
    if not found:
        raise UsageError(f"{folder} has neither Parquet files nor sub-folders of images, one a class")
    classes = tuple(found if names is None else names)
    if strange := set(found) - set(classes):
        raise UsageError(f"{folder / min(strange)} is none of the classes {', '.join(classes)}")
    files = [(file, classes.index(name)) for name in found for file in image_files(folder / name)]
    labels = np.array([label for _, label in files], np.int64)
    return Rows(str(folder), [file for file, _ in files], labels, classes)


def class_folders(folder: Path) -> list[str]:
    """The names of the sub-folders that hold images, sorted; hidden ones are nobody's class."""
    found = [child for child in folder.iterdir() if child.is_dir() and not child.name.startswith(".")]
    return sorted(child.name for child in found if image_files(child))


def read_pictures(path: Path) -> list[Picture]:
    """The pictures of a Parquet file (row by row), of a folder (by file name) or one image file, unlabelled.

    Raises UsageError where there are none.
    """
    if path.is_dir():
        files = image_files(path)
        if not files:
            raise UsageError(f"{path} has no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
        return list(files)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        require_file(path)
        return [path]
    with as_parquet(str(path)):
        return _pictures(_table(path, IMAGE_COLUMNS), str(path))


def image_files(folder: Path) -> list[Path]:
    """All image files in `folder` and below that are not hidden, sorted by path."""
    found = [file for file in folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()]
    return sorted(file for file in found if not any(part.startswith(".") for part in file.relative_to(folder).parts))


def parquet_files(path: Path) -> tuple[list[Path], list[Path]]:
    """The (training, test) files of a folder, or of a common beginning of names such as `data/mnist`.

    Training files have "train" in their name, test files "test"; one file that has neither is training data.
    Both lists are empty where there are no Parquet files. Raises UsageError for more than one data set.
    """
    folder, start = (path, "") if path.is_dir() else (path.parent, path.name)
    files = sorted(
        file for file in folder.glob("*.parquet") if file.name.startswith(start) and not file.name.startswith(".")
    )
    train = [file for file in files if "train" in file.stem]
    test = [file for file in files if "test" in file.stem and file not in train]
    if not train and not test:
        train = files
    for split in (train, test):
        stems = sorted({_SHARD.sub("", file.stem) for file in split})
        if len(stems) > 1:
            start = re.split("train|test", stems[0])[0].rstrip("-_.") or stems[0]
            raise UsageError(
                f"{path} holds more than one data set ({', '.join(stems)}): "
                f"give one file, or how the names of one begin, such as {folder / start}"
            )
    if test and not train:
        raise UsageError(f"{path} has a test file, {test[0].name}, but no *train*.parquet: give one file of it")
    return train, test


def rows_of_table(table: Any, source: str, *, paths: bool = False) -> Rows:
    """The rows of a pyarrow table with a column of images and one of labels.

    `paths` allows pictures that lie in files of their own.
    """
    labels = _labels(table, source)
    return Rows(source, _pictures(table, source, paths=paths), labels, _names(table))


def _table(file: Path, *columns: tuple[str, ...]) -> Any:
    """The first known column of each kind, as a pyarrow table."""
    return read_table(file, lambda schema: [_column(schema.names, known, str(file)) for known in columns])


def _column(present: Sequence[str], known: tuple[str, ...], source: str) -> str:
    for name in known:
        if name in present:
            return name
    raise UsageError(f"{source} has no column {' or '.join(known)}; it has {', '.join(present) or 'none'}")


def _pictures(table: Any, source: str, *, paths: bool = False) -> list[Picture]:
    import pyarrow as pa

    name = _column(table.column_names, IMAGE_COLUMNS, source)
    kind = table.schema.field(name).type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        cells = [cell or {} for cell in table[name].to_pylist()]
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        cells = [{"bytes": cell} for cell in table[name].to_pylist()]
    else:
        raise UsageError(f"column {name} of {source} is {kind}, not images (a struct of bytes and path)")
    if not cells:
        raise UsageError(f"{source} has no rows")
    pictures: list[Picture] = []
    for cell in cells:
        if isinstance(cell.get("bytes"), bytes):
            pictures.append(cell["bytes"])
        elif paths and cell.get("path"):
            pictures.append(Path(cell["path"]))
        else:
            pictures.append(None)  # `decode` refuses it, or leaves it out
    return pictures


def _labels(table: Any, source: str) -> npt.NDArray[np.int64]:
    import pyarrow as pa
    import pyarrow.compute as pc

    name = _column(table.column_names, LABEL_COLUMNS, source)
    column = table[name]
    if not pa.types.is_integer(column.type):
        raise UsageError(f"labels must be integers 0..C−1, but column {name} of {source} is {column.type}")
    if column.null_count:
        raise UsageError(f"row {pc.index(pc.is_null(column), True).as_py()} of {source} has no label")
    labels = np.asarray(column.cast(pa.int64(), safe=False).to_numpy())
    wrong = np.flatnonzero((labels < 0) | (labels >= MAX_CLASSES))
    if len(wrong):
        raise UsageError(
            f"row {wrong[0]} of {source} has label {column[int(wrong[0])].as_py()}: "
            f"labels are 0..C−1, with at most {MAX_CLASSES} classes"
        )
    return labels


def _names(table: Any) -> tuple[str, ...] | None:
    """The class names in the metadata that Hugging Face `datasets` writes, or None."""
    try:
        features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
        label = next(name for name in LABEL_COLUMNS if name in table.column_names)
        return tuple(map(str, features[label]["names"]))
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
