"""Folders with links in them: each folder is read once, and what a link leads to is read as if it lay there."""

import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from image_files import folder, grey, png
from mosaic_fl.data.folders import read_folder
from mosaic_fl.data.inputs import read_inputs
from mosaic_fl.data.parts import locate
from mosaic_fl.domains.image.prior.folder import files
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import Note
from mosaic_fl.storage.walk import walk

# (what there is beside a/000.png, a/001.png and b/000.png: links by name, what each leads to, and other pictures;
#  the files that are read of all; those of class a; a part of what is said)
MORE = "{0}/a is one class with all its folders: more"
Row = tuple[str, dict[str, str], list[str], int, str]
ROWS: list[Row] = [
    ("no link", {}, ["a/000.png", "a/001.png", "b/000.png"], 2, ""),
    ("a picture", {"b/x.png": "../../else/5.png"}, ["a/000.png", "a/001.png", "b/000.png", "b/x.png"], 2, ""),
    ("a folder in a class", {"a/more": "../../else"}, ["a/000.png", "a/001.png", "a/more/5.png", "b/000.png"], 3, ""),
    (
        "a folder twice",
        {"a/more": "../../else", "a/other": "../../else"},
        ["a/000.png", "a/001.png", "a/more/5.png", "b/000.png"],
        3,
        "as links to folders that are read anyhow: (a/)?other of",
    ),
    ("itself", {"a/again": "."}, ["a/000.png", "a/001.png", "b/000.png"], 2, "read anyhow: (a/)?again"),
    ("what it lies in", {"a/up": ".."}, ["a/000.png", "a/001.png", "b/000.png"], 2, "read anyhow: (a/)?up"),
    ("the whole as a class", {"c": "."}, ["a/000.png", "a/001.png", "b/000.png"], 2, "(anyhow|lies in): c"),
    ("nothing", {"a/gone.png": "nowhere.png"}, ["a/000.png", "a/001.png", "b/000.png"], 2, "not exist: (a/)?gone.png"),
    ("a circle of links", {"a/x.png": "x.png"}, ["a/000.png", "a/001.png", "b/000.png"], 2, "not exist: (a/)?x.png"),
    ("hidden", {"a/.more": "../../else", ".c": "../else"}, ["a/000.png", "a/001.png", "b/000.png"], 2, ""),
]


@pytest.fixture
def linked(tmp_path: Path) -> Callable[[dict[str, str]], Path]:
    """The folder with these links."""

    def make(links: dict[str, str]) -> Path:
        (tmp_path / "else").mkdir()
        (tmp_path / "else" / "5.png").write_bytes(png(grey(5)))
        root = folder(tmp_path / "data", a=2, b=1)
        for name, target in links.items():
            (root / name).symlink_to(target)
        return root

    return make


def told(read: Callable[[], Any]) -> tuple[Any, str]:
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always", Note)
        return read(), "\n".join(str(warning.message) for warning in notes)


@pytest.mark.parametrize(("links", "names", "held", "said"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_all_readers_follow_links_alike(
    linked: Callable[[dict[str, str]], Path], links: dict[str, str], names: list[str], held: int, said: str
) -> None:
    root = linked(links)
    inputs, told_of_inputs = told(lambda: [item.file for item in read_inputs(root).items])
    assert inputs == names
    prior, told_of_prior = told(lambda: [str(file.relative_to(root)) for file in files(root)])
    assert prior == names
    rows, told_of_rows = told(lambda: read_folder(root))
    assert rows.names == ("a", "b")
    assert rows.labels.tolist() == [0] * held + [1] * (len(names) - held)
    for text in (told_of_inputs, told_of_prior, told_of_rows.replace(MORE.format(root), "")):
        assert re.search(said, text) if said else not text, text


def test_folders_that_link_to_each_other_are_read_once(tmp_path: Path) -> None:
    """As many ways lead through ten folders that all link to each other as there are orders of ten."""
    names = [f"f{i}" for i in range(10)]
    folder(tmp_path, **dict.fromkeys(names, 1))
    for name in names:
        for other in names:
            if other != name:
                (tmp_path / name / other).symlink_to(f"../{other}")
    found = walk(tmp_path)
    assert [str(file.relative_to(tmp_path)) for file in found.files] == [f"{name}/000.png" for name in names]
    assert len(found.duplicates) == 90


def test_a_class_may_be_a_link(tmp_path: Path) -> None:
    folder(tmp_path / "store", cats=2, dogs=1)
    root = tmp_path / "data"
    root.mkdir()
    for name, target in (("cat", "cats"), ("dog", "dogs")):
        (root / name).symlink_to(f"../store/{target}")
    assert locate(root) is not None
    rows = read_folder(root)
    assert (rows.names, rows.labels.tolist()) == (("cat", "dog"), [0, 0, 1])


def test_a_folder_that_is_closed_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path, a=1, b=1)
    scan = os.scandir

    def closed(place: Path) -> Any:
        if Path(place).name == "b":
            raise PermissionError(13, "Permission denied", str(place))
        return scan(place)

    monkeypatch.setattr(os, "scandir", closed)
    for read in (read_inputs, read_folder, files):
        with pytest.raises(UsageError, match="cannot read .*/b: Permission denied"):
            read(tmp_path)
