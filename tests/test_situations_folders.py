"""Folders and files as people have them: parts, what is not read, and who is meant."""

import shutil
from pathlib import Path

import pytest

from image_files import folder, write
from mosaic_fl.config import DataConfig
from mosaic_fl.data.sources import load, load_file
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import Note
from situations import (
    Situation,
    both,
    check,
    dirs,
    files,
    listing,
    moved,
    simulation,
    site,
    situations,
    table,
)

TRAIN_READ = ("the training part is read",)


@situations(
    Situation("train and test", dirs(train__a=2, train__b=1, test__a=1), {"a": 2, "b": 1}, (*TRAIN_READ, "test")),
    Situation(
        "in capitals, with validation",
        dirs(TRAIN__a=2, TRAIN__b=1, Validation__a=1, Testing__a=1),
        {"a": 2, "b": 1},
        ("training part is read: TRAIN", "Validation, Testing"),
    ),
    Situation("train alone", dirs(Training__a=2, Training__b=1), {"a": 2, "b": 1}, TRAIN_READ),
    Situation("train alone of the known classes", dirs(train__a=2), {"a": 2, "b": 0}, TRAIN_READ, classes=["a", "b"]),
    Situation(
        "sets", dirs(training_set__a=1, training_set__b=1, test_set__a=1), {"a": 1, "b": 1}, (*TRAIN_READ, "test_set")
    ),
    Situation("test alone", dirs(test__a=2, test__b=1), said=("has test", "no folder called train")),
    Situation("val and test", dirs(val__a=2, test__b=1), said=("has val, test", "no folder called train")),
    Situation(
        "beside classes",
        dirs(train__a=1, train__b=1, cat=1),
        said=("train, which are parts of a data set, and cat, which may be classes: give one of them",),
    ),
    Situation("a part twice", dirs(val__a=1, train__a=1, valid__b=1), said=("two of them are the same part",)),
    Situation("flat", dirs(train=2, val=2), said=("has the parts train, val, but no class folders in them",)),
    Situation(
        "flat test",
        dirs(train__a=1, train__b=1, test=1),
        {"a": 1, "b": 1},
        ("without class folders, tables or lists: test", "read"),
    ),
    Situation("vehicles", dirs(train=1, ship=2), {"ship": 2, "train": 1}, ("taken as classes of",)),
    Situation("a class of two words", dirs(**{"test strip": 1, "swab": 2}), {"swab": 2, "test strip": 1}),
    Situation(
        "tables in folders",
        both(moved(table([0, 1]), "train"), moved(table([0]), "test")),
        {"0": 1, "1": 1},
        (*TRAIN_READ, "not read"),
    ),
)
def test_parts_of_a_data_set_are_no_classes(case: Situation, tmp_path: Path) -> None:
    check(case, site(case), tmp_path)


@situations(
    Situation("train and test", dirs(Train__a=2, Train__b=1, Test__a=1), {"a": 2, "b": 1, "ta": 1, "tb": 0}),
    Situation(
        "train and val",
        dirs(train__a=2, train__b=1, val__a=1),
        {"a": 2, "b": 1, "ta": 1, "tb": 0},
        ("no test part: val serves as one",),
    ),
    Situation(
        "all three",
        dirs(train__a=2, train__b=1, val__a=1, test__b=1),
        {"a": 2, "b": 1, "ta": 0, "tb": 1},
        ("not read of",),
    ),
    Situation(
        "train alone",
        dirs(train__a=6, train__b=5),
        {"a": 5, "b": 4, "ta": 1, "tb": 1},
        ("a training part alone: a fifth of it",),
    ),
    Situation("test alone", dirs(test__a=6, test__b=5), said=("no folder called train",)),
    Situation(
        "numbers in order",
        dirs(train___2=1, train___10=1, test___10=1),
        {"2": 1, "10": 1, "t2": 0, "t10": 1},
    ),
    Situation(
        "tables train and val",
        both(table([0, 1, 1], "x-Train.parquet"), table([1], "x-val.parquet")),
        {"0": 1, "1": 2, "t0": 0, "t1": 1},
        ("no test part: x-val.parquet serves as one",),
    ),
    Situation(
        "a table beside",
        both(table([0, 1], "train.parquet"), table([1], "test.parquet"), table([1], "latest.parquet")),
        {"0": 1, "1": 1, "t0": 0, "t1": 1},
        ("not read of",),
    ),
    Situation("a word with test in it", table([0] * 5 + [1] * 5, "latest.parquet"), {"0": 4, "1": 4, "t0": 1, "t1": 1}),
    Situation(
        "text in both",
        both(table(["b", "a", "c"], "train.parquet"), table(["c", "b"], "test.parquet")),
        {"a": 1, "b": 1, "c": 1, "ta": 0, "tb": 1, "tc": 1},
    ),
    Situation(
        "text and numbers",
        both(table(["b", "a"], "train.parquet"), table([0, 1], "test.parquet")),
        said=("has the classes a, b, and its test set has numbers",),
    ),
    Situation(
        "labels from 1",
        both(table([1, 2, 3], "train.parquet"), table([3], "test.parquet")),
        {"1": 1, "2": 1, "3": 1, "t1": 0, "t2": 0, "t3": 1},
        ("are 1..3: the classes are called so",),
    ),
    Situation("gaps", table([0, 5, 5, 0, 5, 5]), said=("no training sample of class 1, 2, 3, 4",)),
    Situation(
        "lists",
        both(
            listing("file,label\na.png,0\nb.png,1\n", "a.png", "b.png", name="train.csv"),
            listing("file,label\na.png,0\n", name="test.csv"),
        ),
        {"0": 1, "1": 1, "t0": 1, "t1": 0},
        ("is read as",),
    ),
)
def test_parts_in_a_simulation(case: Situation, tmp_path: Path) -> None:
    check(case, simulation(case), tmp_path)


@situations(
    Situation(
        "columns beside",
        table([0, 1], age=[50, 60], sex=["f", "m"]),
        {"0": 1, "1": 1},
        ("columns of",),
        data="x.parquet",
    ),
    Situation(
        "a class of DICOM files",
        both(dirs(a=2, b=1), files("c/1.dcm", "c/2.dcm")),
        said=("/c holds no image that can be read (2 .dcm): convert them",),
    ),
    Situation("of unknown type, without a suffix", both(dirs(a=2, b=1), files("c/IM0001")), said=("1 without suffix",)),
    Situation("all of DICOM", files("a/1.dcm", "b/2.dcm"), said=("/a holds no image that can be read (1 .dcm)",)),
    Situation(
        "a class of arrays, to be skipped",
        both(dirs(a=2, b=1), files("c/1.npy")),
        {"a": 2, "b": 1},
        ("no class of",),
        reading={"skip_broken": True},
    ),
    Situation(
        "DICOM beside images",
        both(dirs(a=2, b=1), files("a/1.dcm", "b/2.DCM", "b/x.txt")),
        {"a": 2, "b": 1},
        ("2 .dcm, 1 .txt",),
    ),
    Situation(
        "documents", both(dirs(a=2, b=1), files("docs/read.md")), {"a": 2, "b": 1}, ("no image that can be read: docs",)
    ),
    Situation("an empty class", both(dirs(a=2, b=1), dirs(c=0)), {"a": 2, "b": 1}, ("no image that can be read: c",)),
    Situation(
        "what systems leave", both(dirs(a=2, b=1), files("a/Thumbs.db", "a/.DS_Store", ".x/a.png")), {"a": 2, "b": 1}
    ),
    Situation(
        "images outside of classes",
        both(dirs(a=2, b=1), listing("", "c.png", name="x.txt")),
        {"a": 2, "b": 1},
        ("c.png",),
    ),
    Situation(
        "folders in a class", dirs(a__x=1, a__y=1, b=1), {"a": 2, "b": 1}, ("is one class with all its folders: x, y",)
    ),
    Situation(
        "labels from 1",
        table([1, 2, 3, 4, 5, 5]),
        said=("are 1, 2, 3, 4, 5, and none is 0", "(--classes 6)", "as 1,2,3,…,5"),
    ),
    Situation("labels from 1, named", table([1, 2, 3]), {"1": 1, "2": 1, "3": 1}, classes=["1", "2", "3"]),
    Situation(
        "labels from 1 and their number",
        table([1, 2, 3]),
        said=("label 3, but there are 3 classes", "if labels count from 1", "1,2,3"),
        classes=3,
    ),
    Situation("gaps", table([0, 5, 900]), said=("are 0, 5, 900, and none is 1", "(--classes 901)", "as 0,5,900")),
    Situation("gaps, named", table([0, 5, 900, 5]), {"900": 1, "5": 2, "0": 1}, classes=["900", "5", "0"]),
    Situation("a gap and the number", table([0, 2]), {"0": 1, "1": 0, "2": 1}, classes=3),
    Situation(
        "positions in names",
        table([1, 2]),
        {"cat": 0, "dog": 1, "owl": 1},
        ("the least label of",),
        classes=["cat", "dog", "owl"],
    ),
    Situation("a number that is no name", table([1, 4]), said=("has label 4", "classes: 1, 2, 3"), classes="123"),
)
def test_nothing_is_dropped_in_silence(case: Situation, tmp_path: Path) -> None:
    check(case, site(case), tmp_path)


def test_no_order_of_files_changes_the_classes(tmp_path: Path) -> None:
    """Shards that hold different names are one data set."""
    write(tmp_path / "train-00000-of-00002.parquet", ["10", "2"])
    write(tmp_path / "train-00001-of-00002.parquet", ["1", "10"])
    with pytest.warns(Note):
        data = load_file(tmp_path)
    assert data.schema.classes == ("1", "2", "10")
    assert data.labels.tolist() == [2, 1, 0, 2]


def test_files_that_disappear_while_they_are_listed_are_no_crash(tmp_path: Path) -> None:
    folder(tmp_path, a=1, b=1)
    (tmp_path / "a" / "broken.png").symlink_to(tmp_path / "nowhere.png")
    assert len(load_file(tmp_path)) == 2
    shutil.rmtree(tmp_path / "b")
    with pytest.raises(UsageError, match="shows one class only"):
        load_file(tmp_path)


TINY = both(
    *(table([0, 1, 1], f"{name}-{part}.parquet") for name in ("tiny10", "tiny100") for part in ("train", "test"))
)
SMALL = {"0": 1, "1": 2, "t0": 1, "t1": 2}


@situations(
    Situation("a name at its end", TINY, SMALL, data="tiny10"),
    Situation("the longer one", TINY, SMALL, data="tiny100"),
    Situation(
        "the beginning of both",
        TINY,
        said=("more than one data set (tiny10-train, tiny100-train)", "/tiny10"),
        data="tiny1",
    ),
    Situation("the folder of both", TINY, said=("more than one data set", "such as", "/tiny10")),
    Situation(
        "a version",
        both(table([0, 1, 1], "a-train.parquet"), table([0], "a-test.parquet"), table([0], "a-v2-train.parquet")),
        {"0": 1, "1": 2, "t0": 1, "t1": 0},
        data="a",
    ),
    Situation(
        "the beginning of a word",
        both(table([0, 1], "mnist-train.parquet"), table([0], "mnist-test.parquet")),
        {"0": 1, "1": 1, "t0": 1, "t1": 0},
        ("is read as mnist-test.parquet, mnist-train.parquet",),
        data="mn",
    ),
    Situation(
        "a folder and files",
        both(TINY, dirs(tiny10__train__a=1, tiny10__train__b=1, tiny10__test__a=1)),
        {"a": 1, "b": 1, "ta": 1, "tb": 0},
        ("is taken for the folder of that name; not read: tiny10-test.parquet, tiny10-train.parquet",),
        data="tiny10",
    ),
)
def test_who_is_meant(case: Situation, tmp_path: Path) -> None:
    check(case, simulation(case), tmp_path)


def test_a_site_that_names_the_beginning_of_a_file_is_told_the_whole(tmp_path: Path) -> None:
    table([0, 1], "ward-2.parquet")(tmp_path)
    with pytest.raises(UsageError, match=r"ward does not exist: did you mean .*ward-2\.parquet\?"):
        load_file(tmp_path / "ward")


def test_a_folder_called_as_what_is_built_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "digits", a=1, b=1)
    with pytest.warns(Note, match=r"built in; for the file or folder of that name write \./digits"):
        load(DataConfig(name="digits"), 0)
