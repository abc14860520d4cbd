"""A text file that lists images and their labels, one a line. Hospitals most often have such lists."""

import os
from collections import Counter
from pathlib import Path

from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.delimited import Delimited, read_delimited, without_empty
from mosaic_fl.data.labels import parse_labels
from mosaic_fl.data.names import listing, quote
from mosaic_fl.data.rows import IMAGE_OPTION, READING, Rows, choose_column
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import note

FILE_COLUMNS = (
    "file", "filename", "file_name", "path", "filepath", "file_path", "image", "img", "image_path", "image_file",
)  # fmt: skip
LABEL_COLUMNS = ("label", "labels", "class")


def read_csv(file: Path, reading: ReadingConfig = READING) -> Rows:
    """The images that a CSV or TSV file lists, relative to its folder, with their labels.

    The header line shows the separator (comma, semicolon, tab, bar). The text is UTF-8 or UTF-16. Notes name columns
    that are not read, and images that are listed twice. With `reading.skip_broken`, decoding leaves out files that do
    not exist. Raises UsageError for a file that is no such list, for a line without a file or a label, for files that
    do not exist (without `skip_broken`), and for an image with two labels.
    """
    table = without_empty(file, read_delimited(file))
    image, label = _columns(table.columns, file, reading)
    if unread := [name for name in table.columns if name and name not in (image, label)]:
        note(f"columns of {file} that are not read: {listing(unread)}")
    pictures = _pictures(file, table, image, reading)
    texts = [text.strip() for text in table.cells(label)]
    labels = parse_labels(texts, lambda row: f"line {table.lines[row][0]} of {file}", str(file))
    _check_twice(file, table, pictures, texts)
    return Rows(str(file), pictures, labels.numbers, labels.names, labels.coded)


def is_list(file: Path, reading: ReadingConfig = READING) -> bool:
    """Whether a CSV file has a column of files and one of labels."""
    try:
        require_list(file, reading)
    except UsageError:
        return False
    return True


def require_list(file: Path, reading: ReadingConfig = READING) -> None:
    """Raise UsageError unless a CSV file has a column of files and one of labels."""
    _columns(read_delimited(file).columns, file, reading)


def read_files(file: Path, reading: ReadingConfig = READING) -> list[tuple[str, Path | None]]:
    """The images that a CSV file lists, labelled or not: each name as it is written, and its file (None: no name).

    It does not check that the files exist. Raises UsageError for a file that is no such list.
    """
    table = read_delimited(file)
    column = choose_column(table.columns, reading.image_column, FILE_COLUMNS, IMAGE_OPTION, str(file))
    names = [name.strip() for name in table.cells(column)]
    return [(name, resolve(file.parent, name) if name else None) for name in names]


def _columns(present: list[str], file: Path, reading: ReadingConfig) -> tuple[str, str]:
    if any(name and is_file(resolve(file.parent, name)) for name in present):
        raise UsageError(f"{file} begins with a file and not with a header line: write one above, as file,label")
    image = choose_column(present, reading.image_column, FILE_COLUMNS, IMAGE_OPTION, str(file))
    label = choose_column(present, reading.label_column, LABEL_COLUMNS, "--label-column", str(file))
    if image == label:
        raise UsageError(f"{file}: column {image} cannot be both the image and the label")
    if present.count(image) > 1 or present.count(label) > 1:
        raise UsageError(f"{file} has two columns of one name: {', '.join(present)}")
    return image, label


def _pictures(file: Path, table: Delimited, column: str, reading: ReadingConfig) -> list[Path]:
    """The files that a column names; raises UsageError for an empty name and for a file that does not exist."""
    names = table.cells(column)
    for (number, _), name in zip(table.lines, names, strict=True):
        if not name.strip():
            raise UsageError(f"line {number} of {file} names no file")
    pictures = [resolve(file.parent, name) for name in names]
    missing = [row for row, picture in enumerate(pictures) if not is_file(picture)]
    if missing and not reading.skip_broken:
        raise _missing(file, table, names, missing)
    return pictures


def resolve(folder: Path, name: str) -> Path:
    """The file of that name, relative to the folder of the list. Backslashes, as in paths of Windows, are tried too."""
    for candidate in (name, name.strip(), name.strip().replace("\\", "/")):
        if is_file(folder / candidate):
            return folder / candidate
    return folder / name.strip()


def is_file(path: Path) -> bool:
    """Whether there is such a file; a path that cannot be one is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, a zero byte
        return False


def _missing(file: Path, table: Delimited, names: list[str], missing: list[int]) -> UsageError:
    first = missing[0]
    where = f"line {table.lines[first][0]}: {quote(names[first].strip()[:200])}"
    count = f"{len(missing)} file{'s' * (len(missing) != 1)} of {len(names)} that {file} lists"
    return UsageError(
        f"{count} do{'es' * (len(missing) == 1)} not exist, the first in {where}: names are relative to "
        f"{file.parent}{os.sep}"
    )


def _check_twice(file: Path, table: Delimited, pictures: list[Path], texts: list[str]) -> None:
    """Note images that are listed twice; raise UsageError where one has two labels."""
    counts = Counter(pictures)
    if len(counts) == len(pictures):
        return
    first = dict[Path, int]()
    for row, picture in enumerate(pictures):
        before = first.setdefault(picture, row)
        if texts[before] != texts[row]:
            labels = (f"{quote(texts[at])} (line {table.lines[at][0]})" for at in (before, row))
            raise UsageError(f"{file} lists {quote(str(picture))} as {' and as '.join(labels)}: an image has one label")
    twice = [picture for picture, count in counts.items() if count > 1]
    note(f"{file} lists {len(twice)} image{'s' * (len(twice) != 1)} more than once: {listing(twice, 3)}")
