"""Labels as people have them: which classes they are, in which order, and what is said."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from image_files import grey, png, write
from mosaic_fl.data.arrays import from_arrays, from_dataset
from mosaic_fl.data.names import in_order, read_names
from mosaic_fl.data.sources import load_file
from mosaic_fl.errors import UsageError
from situations import (
    Situation,
    check,
    dirs,
    listing,
    measured,
    site,
    situations,
    table,
    zeros,
)

TWELVE = [str(i) for i in range(12)]


@situations(
    Situation("all twelve folders", dirs(**{f"_{i}": i + 1 for i in range(12)}), {n: int(n) + 1 for n in TWELVE}),
    Situation(
        "all twelve folders and their number",
        dirs(**{f"_{i}": i + 1 for i in range(12)}),
        {n: int(n) + 1 for n in TWELVE},
        classes=12,
    ),
    Situation("three of twelve", dirs(_2=3, _10=1, _11=2), zeros(*TWELVE, _2=3, _10=1, _11=2), classes=12),
    Situation("numbers with zeros before", dirs(_01=1, _2=2, _10=3), {"01": 1, "2": 2, "10": 3}),
    Situation("Arabic digits", dirs(**{"_١٠": 1, "_٢": 2}), {"٢": 2, "١٠": 1}),
    Situation("numbers and text", dirs(_2=1, _10=1, other=1), {"10": 1, "2": 1, "other": 1}),
    Situation(
        "a zero that the federation does not write",
        dirs(_01=1, _02=1),
        said=("class 01 of", "none of the classes 1, 2", "did you mean 1?"),
        classes=["1", "2"],
    ),
    Situation(
        "another case",
        dirs(cat=1, Dog=1),
        said=("class Dog of", "did you mean dog? Names must agree to the letter"),
        classes=["cat", "dog"],
    ),
    Situation(
        "white space", table(["cat", "dog "]), said=("class 'dog ' of", "did you mean dog?"), classes=["cat", "dog"]
    ),
    Situation(
        "an accent in two characters",
        dirs(**{"mu\u0308ll": 1, "cat": 1}),
        said=("did you mean m\u00fcll?",),
        classes=["cat", "m\u00fcll"],
    ),
    Situation("a word of another form", dirs(cats=1), said=("class cats", "did you mean cat?"), classes=["cat", "dog"]),
    Situation(
        "two names that differ in case",
        table(["Cat", "cat"]),
        {"Cat": 1, "cat": 1},
        said=("'Cat' and 'cat' are two classes of",),
    ),
)
def test_the_order_of_classes(case: Situation, tmp_path: Path) -> None:
    check(case, site(case), tmp_path)


@situations(
    Situation(
        "named and numbered otherwise",
        lambda root: write(root / "x.parquet", [0, 0, 1], names=["dog", "cat"]),
        {"cat": 1, "dog": 2},
        classes=["cat", "dog"],
    ),
    Situation(
        "names in the order of text",
        lambda root: write(root / "x.parquet", [2, 2, 1], names=["0", "1", "10", *TWELVE[2:10], "11"]),
        zeros(*TWELVE, _10=2, _1=1),
        classes=TWELVE,
    ),
    Situation("all folders", dirs(_2=3, _10=1), zeros(*TWELVE, _2=3, _10=1), classes=TWELVE),
    Situation("numbers, by name", table([1, 2, 2]), {"2": 2, "1": 1}, classes=["2", "1"]),
    Situation("text", table(["b", "b", "a"]), {"a": 1, "b": 2, "c": 0}, classes=["a", "b", "c"]),
    Situation(
        "other names",
        lambda root: write(root / "x.parquet", [0, 1], names=["zero", "one"]),
        said=("class zero of", "is none of the classes 0, 1"),
        classes=["0", "1"],
    ),
    Situation(
        "names beside those of the model",
        lambda root: write(root / "x.parquet", [0, 1], names=["cat", "owl"]),
        said=("class owl of", "is none of the classes cat, dog"),
        classes=["cat", "dog"],
    ),
    Situation("a test folder alone", dirs(test__a=2, test__b=1), {"a": 2, "b": 1}, classes=["a", "b"]),
    Situation("of three parts, the test", dirs(Train__a=1, VAL__a=2, Test__a=3), {"a": 3, "b": 0}, classes="ab"),
    Situation(
        "a validation part alone",
        dirs(train__a=1, valid__a=2),
        {"a": 2, "b": 0},
        said=("has no test part: valid serves as one",),
        classes="ab",
    ),
    Situation(
        "a training part alone",
        dirs(train__a=1, train__b=2),
        {"a": 1, "b": 2},
        said=("no test part: the training part is measured on: train",),
        classes="ab",
    ),
)
def test_a_test_file_is_read_by_name(case: Situation, tmp_path: Path) -> None:
    check(case, measured(case), tmp_path)


CATS = {"cat": 1, "dog": 2}
LABELS: list[tuple[str, Any, Any, dict[str, int]]] = [
    ("text", ["dog", "cat", "dog"], None, CATS),
    ("text with names", ["dog", "cat", "dog"], ["dog", "cat"], CATS),
    ("text and a number", ["dog", "cat", "dog"], 2, CATS),
    ("whole floats", [1.0, 0.0, 1.0], None, {"0": 1, "1": 2}),
    ("truth", [True, False, True], None, {"0": 1, "1": 2}),
    ("truth with other names", [True, False, True], ["well", "ill"], {"well": 1, "ill": 2}),
    ("truth with its names", [True, False, True], ["True", "False"], {"True": 2, "False": 1}),
    ("numbers of truth", [1, 0, 1], ["true", "false"], {"true": 2, "false": 1}),
    ("numbers turned around", [1, 0, 1], ["1", "0"], {"1": 2, "0": 1}),
    ("negative numbers", [-1, 1, 1], ["-1", "0", "1"], {"-1": 1, "0": 0, "1": 2}),
]


@pytest.mark.parametrize(("what", "labels", "classes", "right"), LABELS, ids=[row[0] for row in LABELS])
@pytest.mark.parametrize("kind", ["parquet", "csv", "arrays", "column", "dataset", "dictionary"])
def test_labels_are_taken_as_they_are(
    kind: str, what: str, labels: list[Any], classes: Any, right: dict[str, int], tmp_path: Path
) -> None:
    """The same labels give the same classes wherever they come from."""
    images = np.zeros((3, 4, 4), np.uint8)
    if kind in ("parquet", "dictionary"):
        values = pa.array(labels)
        write(tmp_path / "x.parquet", values.dictionary_encode() if kind == "dictionary" else values)
        data = load_file(tmp_path / "x.parquet", classes=classes)
    elif kind == "csv":
        rows = "".join(f"{i}.png,{label}\n" for i, label in enumerate(labels))
        listing(f"file,label\n{rows}", "0.png", "1.png", "2.png")(tmp_path)
        data = load_file(tmp_path / "list.csv", classes=classes)
    elif kind == "dataset":
        data = from_dataset(list(zip(images, labels, strict=True)), classes)
    else:
        column = np.array(labels)
        data = from_arrays(images, column[:, None] if kind == "column" else column, classes)
    assert dict(zip(data.schema.classes, data.class_counts().tolist(), strict=True)) == right


IMAGE = {"bytes": png(grey(1)), "path": None}


def nested(root: Path) -> None:
    cells = [{"picture": IMAGE, "diagnosis": label, "age": 5} for label in ("b", "a", "b")]
    pq.write_table(pa.table({"sample": cells, "site": [1, 1, 1]}), root / "x.parquet")


@situations(
    Situation(
        "columns in a struct",
        nested,
        {"a": 1, "b": 2},
        ("sample.age, site",),
        reading={"image_column": "sample.picture", "label_column": "sample.diagnosis"},
    ),
    Situation(
        "a column that is not there",
        nested,
        said=("unknown column 'sample.diagnos'", "did you mean sample.diagnosis", "sample.age"),
        reading={"image_column": "sample.picture", "label_column": "sample.diagnos"},
    ),
    Situation("none that is known", nested, said=("has no column image or img; it has sample, site", "--image-column")),
    Situation("a label in lists of one", table([[0], [1], [1]]), {"0": 1, "1": 2}),
    Situation("text as bytes", table([b"a", b"b"]), {"a": 1, "b": 1}),
    Situation(
        "in capitals", lambda root: write(root / "x.parquet", [0, 1], columns=("Image", "Label")), {"0": 1, "1": 1}
    ),
    Situation(
        "in two cases",
        lambda root: pq.write_table(
            pa.table({"image": [IMAGE] * 2, "Label": [0, 1], "LABEL": [1, 0]}), root / "x.parquet"
        ),
        said=("has the columns Label, LABEL: say which with --label-column",),
    ),
    Situation(
        "another label",
        table([0, 1, 1], coarse=["x", "y", "x"]),
        {"x": 2, "y": 1},
        ("are not read: label",),
        reading={"label_column": "coarse"},
    ),
    Situation("dates", table(pa.array([1, 2], pa.date32())), said=("column label of", "is date32")),
    Situation(
        "the image as label", table([0, 1]), said=("column image cannot be both",), reading={"label_column": "image"}
    ),
)
def test_columns(case: Situation, tmp_path: Path) -> None:
    check(case, site(case), tmp_path)


@pytest.mark.parametrize(
    ("names", "right"),
    [
        (["10", "9", "1"], ("1", "9", "10")),
        (["10", "9", "x"], ("10", "9", "x")),
        (["-1", "1", "0"], ("-1", "0", "1")),
        (["1.0", "10.0", "2.0"], ("1.0", "2.0", "10.0")),
        (["01", "1", "0"], ("0", "01", "1")),
        (["b", "a", "b"], ("a", "b")),
        (["²", "10"], ("10", "²")),
        ([], ()),
    ],
)
def test_names_in_order(names: list[str], right: tuple[str, ...]) -> None:
    assert in_order(names) == in_order(reversed(names)) == right


@pytest.mark.parametrize(
    ("content", "right"),
    [
        (b"cat, small\ndog\n", ["cat, small", "dog"]),
        (b"\xef\xbb\xbfcat\r\n  dog  \r\n\r\n", ["cat", "dog"]),
        ("cat\ndog".encode("utf-16"), ["cat", "dog"]),
        (b"cat\n\ndog\n", "line 2 of .* is empty"),
        (b"cat\n", "names 1 class: write two or more"),
        (b"", "names 0 classes"),
        (b"caf\xe9\nx\n", "neither UTF-8 nor UTF-16"),
    ],
)
def test_a_file_of_names(content: bytes, right: list[str] | str, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_bytes(content)
    if isinstance(right, list):
        assert read_names(tmp_path / "names.txt") == right
    else:
        with pytest.raises(UsageError, match=right):
            read_names(tmp_path / "names.txt")
