"""Parts of a data set that are read by lists or tables of their own, and what lies beside these."""

from pathlib import Path

import pytest

from mosaic_fl.data.sources import check_test
from mosaic_fl.notes import Note
from situations import Situation, both, check, dirs, files, listing, moved, simulation, site, situations, table

PAIR = ("a.png", "b.png")
LIST = listing("file,label\na.png,cat\nb.png,dog\n", *PAIR)
ONE = listing("file,label\na.png,cat\n", "a.png")
# Pictures in folders that are no classes.
SHELVES = listing("file,label\nx/a.png,cat\ny/b.png,dog\ny/c.png,cat\n", "x/a.png", "y/b.png", "y/c.png")
SHARED = "file,label\n../scans/{0}.png,cat\n../scans/{1}.png,dog\n"
BOTH = {"cat": 1, "dog": 1, "tcat": 1, "tdog": 0}
SAYS = ("is read as train/list.csv, test/list.csv say",)


@situations(
    Situation("a list in each", both(moved(LIST, "train"), moved(ONE, "test")), BOTH, SAYS),
    Situation(
        "pictures in one folder",
        both(
            moved(listing("file,label\nimages/a.png,cat\nimages/b.png,dog\n", "images/a.png", "images/b.png"), "train"),
            moved(listing("file,label\nimages/a.png,cat\n", "images/a.png"), "test"),
        ),
        BOTH,
        SAYS,
    ),
    Situation(
        "pictures in several, which may be classes",
        both(moved(SHELVES, "train"), moved(ONE, "test")),
        said=("train holds list.csv, which lists images and labels, and folders that may be classes", "x, y"),
    ),
    Situation(
        "pictures that both share",
        both(
            moved(listing(SHARED.format(1, 2), "../scans/1.png", "../scans/2.png"), "train"),
            moved(listing("file,label\n../scans/3.png,cat\n", "../scans/3.png"), "test"),
        ),
        BOTH,
        (*SAYS, "but for what its lists name: scans"),
    ),
    Situation(
        "a folder that no list names",
        both(moved(LIST, "train"), moved(ONE, "test"), dirs(owl=1)),
        said=("has test, train, which are parts of a data set, and owl, which may be classes",),
    ),
    Situation(
        "a vehicle with a list in its folder",
        both(moved(LIST, "train"), dirs(ship=2)),
        said=("has train, which are parts of a data set, and ship, which may be classes",),
    ),
    Situation(
        "images that it does not list",
        both(moved(LIST, "train"), moved(ONE, "test"), listing("", "train/c.png", name="notes.txt")),
        BOTH,
        (*SAYS, "1 image of"),
    ),
    Situation(
        "a list in one, class folders in the other",
        both(moved(LIST, "train"), dirs(test__cat=1)),
        BOTH,
        ("is read as train/list.csv says",),
    ),
    Situation(
        "a list in one, nothing in the other",
        both(moved(LIST, "train"), dirs(val=2), moved(ONE, "test")),
        BOTH,
        (*SAYS, "without class folders, tables or lists: val"),
    ),
    Situation(
        "two lists in one",
        both(moved(both(LIST, listing("file,label\na.png,cat\n", name="more.csv")), "train"), moved(ONE, "test")),
        said=("train holds more than one data set (list, more)",),
    ),
    Situation(
        "the list of another part",
        both(moved(LIST, "train"), moved(listing("file,label\na.png,cat\n", "a.png", name="train.csv"), "test")),
        said=("test is a part of a data set by its name, and holds those of others by theirs (train.csv)",),
    ),
    Situation(
        "lists of their names",
        both(
            moved(listing("file,label\na.png,cat\nb.png,dog\n", *PAIR, name="train.csv"), "train"),
            moved(listing("file,label\na.png,cat\n", "a.png", name="test.csv"), "test"),
        ),
        BOTH,
        ("is read as train/train.csv, test/test.csv say",),
    ),
    Situation(
        "a list beside them",
        both(moved(LIST, "train"), moved(ONE, "test"), listing("file,label\ntrain/a.png,cat\n")),
        said=("list.csv, which lists images and labels, and folders that may be classes or parts (test, train)",),
    ),
    Situation(
        "other tables of text",
        both(dirs(train__cat=1, train__dog=1, test__cat=1), listing("age\n5\n", name="train/ages.csv")),
        BOTH,
        ("train, as without columns of files and labels: ages.csv",),
    ),
    Situation(
        "tables beside class folders",
        both(moved(both(table([0, 1]), dirs(cat=1), LIST), "train"), moved(table([0]), "test")),
        {"0": 1, "1": 1, "t0": 1, "t1": 0},
        ("train is read as its Parquet files; not read: cat, list.csv",),
    ),
)
def test_parts_with_lists_and_tables(case: Situation, tmp_path: Path) -> None:
    check(case, simulation(case), tmp_path)


@situations(
    Situation(
        "lists",
        both(moved(LIST, "train"), moved(ONE, "test")),
        {"cat": 1, "dog": 1},
        (*SAYS, "the training part is read: train/list.csv", ": test/list.csv"),
    ),
    Situation(
        "a validation part",
        both(moved(LIST, "train"), moved(ONE, "val"), files("readme.md")),
        {"cat": 1, "dog": 1},
        ("train/list.csv, val/list.csv say", "part is read: train/list.csv", ": val/list.csv"),
    ),
)
def test_of_parts_with_lists_a_site_reads_the_training_part(case: Situation, tmp_path: Path) -> None:
    check(case, site(case), tmp_path)


def test_of_parts_with_lists_a_test_reads_the_test_part(tmp_path: Path) -> None:
    both(moved(LIST, "train"), moved(ONE, "val"))(tmp_path)
    with pytest.warns(Note, match="has no test part: val/list.csv serves as one"):
        check_test(tmp_path)
