"""What people have, as a table: the files, what is right, and what is said.

A row makes its files in a folder, reads them as one site does (`mosaic contribute`), as a simulation (`mosaic run`) or
as test data (`mosaic distill --test`), and gives how many samples each class has, with the notes; or the error.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from image_files import folder, grey, png, write
from mosaic_fl.config import DataConfig, ReadingConfig
from mosaic_fl.data.sources import load, load_file, load_test
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import Note


@dataclass(frozen=True)
class Situation:
    """`what` there is, read with `classes`: the samples of each class, and a part of each note or some of the error."""

    what: str
    make: Callable[[Path], Any]
    right: dict[str, int] | None = None  # None: it is refused
    said: tuple[str, ...] = ()
    classes: Any = None
    reading: dict[str, Any] = field(default_factory=dict)
    data: str = "."


def situations(*rows: Situation) -> Any:
    """One test a row."""
    return pytest.mark.parametrize("case", rows, ids=[row.what for row in rows])


def check(case: Situation, read: Callable[[Path], dict[str, int]], root: Path) -> None:
    """A row is read right, with its notes and no others, or refused in one line."""
    case.make(root)
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        if case.right is None:
            with pytest.raises(UsageError) as error:
                read(root / case.data)
            lines = [str(error.value)]
        else:
            assert read(root / case.data) == case.right
            lines = [str(warning.message) for warning in raised if issubclass(warning.category, Note)]
    text = "\n".join(lines)
    assert len(lines) == len(case.said) or case.right is None, text
    assert all(part in text for part in case.said), text
    assert all("\n" not in line and len(line) < 600 for line in lines)


def site(case: Situation) -> Callable[[Path], dict[str, int]]:
    """As `mosaic contribute` reads: the samples of each class."""

    def read(path: Path) -> dict[str, int]:
        data = load_file(path, ReadingConfig(**case.reading), classes=case.classes)
        return dict(zip(data.schema.classes, data.class_counts().tolist(), strict=True))

    return read


def simulation(case: Situation) -> Callable[[Path], dict[str, int]]:
    """As `mosaic run` reads: the training samples of each class, and the test samples with a t before it."""

    def read(path: Path) -> dict[str, int]:
        splits = load(DataConfig(name=str(path), **case.reading), 0)
        counts = {}
        for start, data in (("", splits.train), ("t", splits.test)):
            counts |= {
                start + name: n for name, n in zip(data.schema.classes, data.class_counts().tolist(), strict=True)
            }
        return counts

    return read


def measured(case: Situation) -> Callable[[Path], dict[str, int]]:
    """As `mosaic distill --test` reads, for a model of these classes."""

    def read(path: Path) -> dict[str, int]:
        data = load_test(path, image_schema((1, 4, 4), tuple(case.classes)), ReadingConfig(**case.reading))
        return dict(zip(data.schema.classes, data.class_counts().tolist(), strict=True))

    return read


def dirs(**classes: int) -> Callable[[Path], Any]:
    """Class folders with so many images; `train__cat` is train/cat, and _1 the folder 1."""
    return lambda root: folder(
        root, **{name.replace("__", "/").replace("/_", "/").lstrip("_"): n for name, n in classes.items()}
    )


def table(labels: Any, name: str = "x.parquet", **columns: Any) -> Callable[[Path], Any]:
    """A Parquet file with these labels."""

    def make(root: Path) -> None:
        file = write(root / name, labels)
        if columns:
            content = pq.read_table(file)
            for column, values in columns.items():
                content = content.append_column(column, pa.array(values))
            pq.write_table(content, file)

    return make


def listing(text: str | bytes, *files: str, name: str = "list.csv") -> Callable[[Path], Any]:
    """A CSV file, and images of these names."""

    def make(root: Path) -> None:
        for i, file in enumerate(files):
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_bytes(png(grey(i)))
        (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())

    return make


def both(*makes: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """All of these."""
    return lambda root: [make(root) for make in makes]


def files(*names: str) -> Callable[[Path], Any]:
    """Files that are no images."""

    def make(root: Path) -> None:
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(b"x")

    return make


def moved(make: Callable[[Path], Any], name: str) -> Callable[[Path], Any]:
    """The same within a folder of that name."""

    def within(root: Path) -> None:
        (root / name).mkdir(parents=True)
        make(root / name)

    return within


def zeros(*names: str, **some: int) -> dict[str, int]:
    """So many samples of some classes, none of the others."""
    return {name: some.get(f"_{name}", 0) for name in names}
