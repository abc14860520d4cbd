"""CSV files that list images and labels."""

from pathlib import Path

from situations import (
    Situation,
    both,
    check,
    dirs,
    listing,
    moved,
    site,
    situations,
)

PAIR = ("a.png", "b.png")
TWO = {"cat": 1, "dog": 1}


@situations(
    Situation("file,label", listing("file,label\na.png,cat\nb.png,dog\n", *PAIR), TWO),
    Situation("numbers", listing("filename,label\na.png,0\nb.png,1\n", *PAIR), {"0": 1, "1": 1}),
    Situation("numbers with zeros before", listing("path,label\na.png,01\nb.png,10\n", *PAIR), {"01": 1, "10": 1}),
    Situation("in Excel's form", listing("sep=;\r\nFile;Label\r\na.png;cat\r\nb.png;dog\r\n", *PAIR), TWO),
    Situation(
        "semicolons, a decimal comma", listing("file;label;mm\na.png;cat;1,5\nb.png;dog;2\n", *PAIR), TWO, ("mm",)
    ),
    Situation("tabs", listing("image\tlabel\na.png\tcat\nb.png\tdog\n", *PAIR, name="list.tsv"), TWO, data="list.tsv"),
    Situation("UTF-8 with its mark", listing(b"\xef\xbb\xbffile,label\na.png,cat\nb.png,dog\n", *PAIR), TWO),
    Situation("UTF-16", listing("file,label\na.png,cat\nb.png,dog\n".encode("utf-16"), *PAIR), TWO),
    Situation("ends of old Macs", listing("file,label\ra.png,cat\rb.png,dog\r", *PAIR), TWO),
    Situation("UTF-16 without its mark", listing("file,label\na.png,cat\nb.png,dog\n".encode("utf-16-be"), *PAIR), TWO),
    Situation(
        "quoted commas",
        listing('file,label\n"a, 1.png","cat, small"\n"b.png", dog \n', "a, 1.png", "b.png"),
        {"cat, small": 1, "dog": 1},
    ),
    Situation("Windows paths", listing("file,label\nx\\a.png,cat\nx\\b.png,dog\n", "x/a.png", "x/b.png"), TWO),
    Situation(
        "outside of the folder",
        moved(listing("file,label\n../a.png,cat\n../b.png,dog\n", "../a.png", "../b.png"), "in"),
        TWO,
        data="in/list.csv",
    ),
    Situation("columns beside", listing("file,age,label\na.png,5,cat\nb.png,6,dog\n", *PAIR), TWO, ("not read: age",)),
    Situation("blank lines", listing("\nfile,label\n\na.png,cat\n  \nb.png,dog\n\n", *PAIR), TWO),
    Situation("separators alone", listing(",\nfile,label\na.png,cat\n,\nb.png,dog\n", *PAIR), TWO, ("1 line of",)),
    Situation(
        "columns by option",
        listing("scan,finding\na.png,cat\nb.png,dog\n", *PAIR),
        TWO,
        reading={"image_column": "scan", "label_column": "finding"},
    ),
    Situation(
        "missing files",
        listing("file,label\na.png,cat\nc.png,dog\nd.png,dog\n", *PAIR),
        said=("2 files of 3 that", "do not exist, the first in line 3: c.png"),
    ),
    Situation(
        "missing files, to be left out",
        listing("file,label\na.png,cat\nc.png,dog\nb.png,dog\n", *PAIR),
        TWO,
        said=("1 of 3 images of",),
        reading={"skip_broken": True},
    ),
    Situation("no label", listing("file,label\na.png,cat\nb.png,\n", *PAIR), said=("line 3 of", "has no label")),
    Situation("no file", listing("file,label\na.png,cat\n,dog\n", *PAIR), said=("line 3 of", "names no file")),
    Situation("not whole", listing("file,label\na.png,0\nb.png,1.5\n", *PAIR), said=("line 3 of", "label 1.5")),
    Situation("no header", listing("a.png,cat\nb.png,dog\n", *PAIR), said=("not with a header line", "file,label")),
    Situation(
        "no column of labels", listing("file,kind\na.png,1\n", *PAIR), said=("no column label", "--label-column")
    ),
    Situation(
        "listed twice",
        listing("file,label\na.png,cat\nb.png,dog\n./a.png,cat\n", *PAIR),
        {"cat": 2, "dog": 1},
        ("1 image more than once",),
    ),
    Situation(
        "two labels",
        listing("file,label\na.png,cat\na.png,dog\n", *PAIR),
        said=("as cat (line 2) and as dog (line 3)",),
    ),
    Situation(
        "a comma too many", listing("file,label\na.png,cat, small\n", *PAIR), said=("line 2 of", "3 cells", "quotes")
    ),
    Situation("a name of two lines", listing('file,label\n"a\nb.png",cat\n', *PAIR), said=("line 3: 'a\\nb.png'",)),
    Situation("an open quote", listing('file,label\n"a.png,cat\n', *PAIR), said=("is no line of a table",)),
    Situation(
        "Latin-1", listing("file,label\na.png,b\xe4r\n".encode("latin-1"), *PAIR), said=("neither UTF-8 nor UTF-16",)
    ),
    Situation("empty", listing("", *PAIR), said=("is empty: write a header line",)),
    Situation("a header alone", listing("file,label\n", *PAIR), said=("has no rows",)),
)
def test_a_list_of_files_and_labels(case: Situation, tmp_path: Path) -> None:
    where = case if case.data != "." else Situation(**{**case.__dict__, "data": "list.csv"})
    check(where, site(case), tmp_path)


@situations(
    Situation(
        "labels.csv and images",
        listing("file,label\nimages/a.png,cat\nimages/b.png,dog\n", "images/a.png", "images/b.png", name="labels.csv"),
        TWO,
        ("is read as labels.csv says",),
    ),
    Situation(
        "images beside it", listing("file,label\na.png,cat\nb.png,dog\n", *PAIR), TWO, ("is read as list.csv says",)
    ),
    Situation(
        "images that it does not list",
        listing("file,label\na.png,cat\nb.png,dog\n", *PAIR, "c.png"),
        TWO,
        ("is read as list.csv says", "1 image of"),
    ),
    Situation(
        "beside class folders",
        both(dirs(cat=1, dog=1), listing("file,label\ncat/000.png,cat\n")),
        said=("list.csv, which lists images and labels, and folders", "cat, dog"),
    ),
    Situation(
        "another CSV",
        both(dirs(cat=1, dog=1), listing("age\n5\n")),
        TWO,
        ("without columns of files and labels: list.csv",),
    ),
)
def test_a_folder_with_a_list(case: Situation, tmp_path: Path) -> None:
    check(case, site(case), tmp_path)
