"""Schemas of tables: drafted from one site's data, kept as TOML, and held against another site's data."""

import io
from pathlib import Path

import numpy as np
import pytest

from command import fails, mosaic
from mosaic_fl.cli.main import main
from mosaic_fl.config.toml import read_toml
from mosaic_fl.data.fields.schema_toml import schema_of_toml, schema_toml
from mosaic_fl.data.memory import from_table
from mosaic_fl.data.schema_file import read_schema
from mosaic_fl.data.table.draft import draft
from mosaic_fl.data.table.frame import Frame
from mosaic_fl.data.table.knots import quantile_knots
from mosaic_fl.data.table.reading import frame_of
from mosaic_fl.data.table.rows import table_of
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.table import Column, Table
from mosaic_fl.errors import UsageError
from test_table_reading import SCHEMA, write

N = 40
LABELS = ["no", "yes"] * (N // 2)
COLUMNS: dict[str, list[object]] = {
    "patient": [f"p{i:04}" for i in range(N)],
    "number": list(range(100, 100 + N)),
    "visit": [f"2024-{1 + i % 12:02}-{1 + i % 28:02}" for i in range(N)],
    "remarks": [f"came with pain of {i} days in the left arm" for i in range(0, N // 2)] * 2,
    "country": ["here"] * N,
    "empty": [None] * N,
    "time": [f"{i % 24}:{i:02}" for i in range(N)],
    "age": [30 + i // 2 for i in range(N)],
    "dose": [0.5 + 0.25 * (i // 4) for i in range(N)],
    "smoker": ["yes" if i % 3 else "no" for i in range(N)],
    "flag": [i % 5 == 0 for i in range(N)],
    "stage": (["a"] * 20 + ["b"] * 17 + ["rare"] * 3),
    "ward": [("north", "south", None, "east")[i // 2 % 4] for i in range(N)],
    "copy": ["ill" if label == "yes" else "well" for label in LABELS],
}


def frame(**changed: list[object]) -> Frame:
    return frame_of({**COLUMNS, "outcome": LABELS, **changed}, source="a.csv")


def test_a_draft_guesses_types_and_leaves_out_what_is_no_feature() -> None:
    made = draft(frame(), "outcome", ignore={"dose": "--ignore names it"}, least=5)
    table = table_of(made.schema)
    assert made.schema.classes == ("no", "yes")
    assert table.label == "outcome"
    assert {column.name: (column.type, column.missing) for column in table.columns} == {
        "age": ("whole", False),
        "smoker": ("boolean", False),
        "flag": ("boolean", False),
        "stage": ("category", True),
        "ward": ("category", True),
        "copy": ("category", False),
    }
    reasons = {
        "patient": "each row has a text of its own",
        "number": "it counts the rows",
        "visit": "it holds dates or times: write a column with an age",
        "remarks": "it is free text",
        "country": "it is constant",
        "empty": "it is empty",
        "time": "it holds dates or times",
        "dose": "--ignore names it",
    }
    assert made.left_out.keys() == reasons.keys()
    for name, reason in reasons.items():
        assert made.left_out[name].startswith(reason)
    assert made.remarks.keys() == {"stage", "copy"}
    assert made.remarks["stage"].startswith("1 category with fewer than 5 rows left out: 3 rows count as missing")
    assert made.remarks["copy"].startswith("each of its values belongs to one class: is it the label under another")


def test_no_value_is_written_that_few_rows_stand_behind() -> None:
    """Of the numbers 0..99 with 5 rows beyond, quantiles run from 5 to 94."""
    knots = quantile_knots(np.arange(100.0), 5, whole=True)
    assert (knots[0], knots[-1]) == (5, 94)
    assert quantile_knots(np.arange(11.0), 5, whole=True) == ()
    assert quantile_knots(np.arange(12.0), 5, whole=True) == (5, 6)
    mostly_zero = np.array([0.0] * 90 + [1.0] * 6 + [2.0] * 4)
    assert quantile_knots(mostly_zero, 5, whole=True) == (0, 1)
    assert quantile_knots(np.array([0.0] * 97 + [1.0] * 3), 5, whole=True) == (0,)
    inflated = np.array([0.0] * 100 + list(range(1, 41)))  # quantiles of all see few of the 40 others
    assert quantile_knots(inflated, 5, whole=True) == (0, 3, *range(6, 36))
    rare_class = ["no"] * 20 + ["yes"] * 17 + ["maybe"] * 3
    made = draft(frame(outcome=list(rare_class)), "outcome", ignore={}, least=5)
    assert made.schema.classes == ("no", "yes")
    assert made.remarks["outcome"].startswith("classes with fewer than 5 rows left out: maybe")
    text = schema_toml(made.schema, list(made.left_out))
    assert "rare" not in text
    assert "maybe" not in text


def test_knots_are_rounded_to_three_digits() -> None:
    knots = quantile_knots(1234.5678 + np.arange(200.0), 5, whole=False)
    assert knots[:2] == (1240, 1246)  # 1,239.57 and 1,245.57: the third digit of the range, 189, is 1, that of these 10
    knots = quantile_knots(36.0 + np.arange(200.0) / 97, 5, whole=False)
    assert knots[0] == 36.05  # 36.0515: the third digit of the range of 2 is 0.01
    assert quantile_knots(np.repeat([123.456, 98765.4], 10), 5, whole=False) == (123, 98800)


def test_a_schema_as_toml_comes_back(tmp_path: Path) -> None:
    made = draft(frame(), "outcome", ignore={}, least=5)
    path = tmp_path / "a.toml"
    path.write_text(schema_toml(made.schema, list(made.left_out)))
    assert read_schema(path) == made.schema
    odd = Column('a "b" \\ ä#', "category", categories=("=[x]", "'y'", "\u00a0"))
    strange = Schema({"table": Table((odd,), "l.1", ("-", "k. A."))}, ("1", "true"))
    path.write_text(schema_toml(strange))
    assert schema_of_toml(read_toml(path)) == strange


def test_a_schema_by_hand_may_be_short(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(
        'kind = "table"\n[label]\ncolumn = "y"\nclasses = [0, 1]\n'
        '[[column]]\nname = "age"\ntype = "whole"\nlow = 0\nhigh = 120\n'
        '[[column]]\nname = "dose"\ntype = "numeric"\nknots = [0.5, 1.5]\n'
    )
    schema = read_schema(path)
    assert schema.classes == ("0", "1")
    assert table_of(schema).columns == (
        Column("age", "whole", low=0, high=120, knots=(0, 120)),
        Column("dose", "numeric", low=0.5, high=1.5, knots=(0.5, 1.5)),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('kind = "image"', "it is no schema of tables"),
        (
            'kind = "table"\n[label]\ncolumn = "y"\n[[column]]\nname = "a"\ntype = "boolean"',
            "it is no schema of tables",
        ),
        ('kind = "table"\nunits = 1\n[label]\ncolumn = "y"\nclasses = ["a", "b"]\n[[column]]\nname = "a"', "'units'"),
        ('kind = "table"\n[label]\ncolumn = "y"\nclasses = ["a", "b"]\n[[column]]\nname = "a"', "has no name and type"),
        (
            'kind = "table"\n[label]\ncolumn = "a"\nclasses = ["a", "b"]\n[[column]]\nname = "a"\ntype = "boolean"',
            "feat",
        ),
        ("kind = ", "is not TOML"),
    ],
)
def test_a_file_that_is_no_schema(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=f"a.toml.*{message}"):
        read_schema(path)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["no"] * N, "has 1 class with 5 rows or more: a classifier needs two"),
        ([0.5 * i for i in range(N)], "labels are whole numbers or text"),
        (["no", None] * (N // 2), "row 1 of a.csv has no label"),
    ],
)
def test_labels_that_are_no_classes(labels: list[object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        draft(frame(outcome=labels), "outcome", ignore={}, least=5)


def test_truth_values_are_classes_called_so() -> None:
    made = draft(frame(outcome=[i % 2 == 0 for i in range(N)]), "outcome", ignore={}, least=5)
    assert made.schema.classes == ("false", "true")
    data = from_table({**COLUMNS, "outcome": ["TRUE", "False"] * (N // 2)}, "outcome", made.schema)
    assert data.labels[:2].tolist() == [1, 0]


def test_a_category_that_a_terminal_could_not_show_is_left_out() -> None:
    stages = ["a"] * 20 + ["b\nc"] * 20
    made = draft(frame(stage=list(stages)), "outcome", ignore={}, least=5)
    assert [c.categories for c in table_of(made.schema).columns if c.name == "stage"] == [("a",)]


def test_numbers_as_labels_are_classes_called_so() -> None:
    made = draft(frame(outcome=[2, 4] * (N // 2)), "outcome", ignore={}, least=5)
    assert made.schema.classes == ("2", "4")
    many = frame_of({"x": list(range(300)), "outcome": list(range(300))})
    with pytest.raises(
        UsageError, match="has 300 different numbers: a classifier needs classes, so write a column with"
    ):
        draft(many, "outcome", ignore={}, least=1)
    with pytest.raises(UsageError, match="no column to learn from .x: it counts the rows"):
        draft(frame_of({"x": list(range(N)), "outcome": LABELS}), "outcome", ignore={}, least=5)
    with pytest.raises(UsageError, match="has no column 'z'"):
        draft(frame(), "outcome", ignore={"z": ""}, least=5)


PAIRS = (("a.csv", "--check", "a.toml"), ("a.toml", "--check", "a.csv"))


def test_the_command_drafts_and_compares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        f"{30 + i % 40},{50 + i % 60},{'yes' if i % 3 else 'no'},{1 + i % 2},{'no' if i % 2 else 'yes'}"
        for i in range(80)
    ]
    write(tmp_path / "a.csv", *rows)
    errors = io.StringIO()
    mosaic("schema", "a.csv", "--label-column", "outcome", "--out", "a.toml", cwd=tmp_path, err=errors)
    assert "rows of 4 columns, 2 classes: 3 whole, 1 boolean" in errors.getvalue()
    assert errors.getvalue().splitlines()[-1] == (
        "Never missing here: age, weight, smoker, stage (set missing = true where another site may lack them)"
    )
    printed = mosaic("schema", "a.csv", "--label-column", "outcome", cwd=tmp_path, err=errors)
    assert printed == (tmp_path / "a.toml").read_text()
    assert mosaic("schema", "a.csv", "--check", "a.toml", cwd=tmp_path).splitlines()[-1] == (
        "a.csv can be used with a.toml: 80 rows"
    )
    write(tmp_path / "b.csv", "3000,old,no,7,no", "4000,60,yes,,perhaps", header="age,weight,smoker,phase,outcome\n")
    either_way = [mosaic("schema", *files, cwd=tmp_path) for files in PAIRS]
    assert either_way[0] == either_way[1]
    message = fails(capsys, "schema", tmp_path / "b.csv", "--check", tmp_path / "a.toml")
    assert "3 of 5 differences are in the way" in message


def test_every_difference_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "s.toml").write_text(schema_toml(SCHEMA))
    header = "age,weight,stage,ward,outcome\n"
    write(tmp_path / "b.csv", ",70000,1,n,no", "old,80000,3,n,no", "41,80000,3,n,no", header=header)
    with pytest.raises(SystemExit):
        main(["schema", str(tmp_path / "b.csv"), "--check", str(tmp_path / "s.toml")])
    lines = capsys.readouterr().out.splitlines()
    expected = [
        "differs: no row of the class yes: other sites may have some",
        "cannot be used: column 'age' is whole, and 1 row has something else, as 'old'",
        "cannot be used: column 'age' is never missing by the schema, and 1 row has no value: write missing = true",
        "differs: column 'weight' of ",
        "differs: no column 'smoker': all its values count as missing",
        "differs: column 'stage': 2 rows have categories that the schema does not have (3): they count as missing",
        "differs: columns that the schema does not have are not read: ward",
    ]
    for start in expected:
        assert any(line.startswith(start) for line in lines), (start, lines)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "say which column has the classes: --label-column NAME"),
        (("--label-column", "outcome", "--out", "s.json"), "a schema of tables is TOML, so end its name in .toml"),
        (("--check", "s.toml", "--ignore", "age"), "--check drafts nothing: leave out --ignore"),
        (("--check", "lost.toml"), "lost.toml does not exist"),
        (("--label-column", "target"), "unknown column 'target'"),
    ],
)
def test_wrong_options(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.csv", "31,70,yes,1,no")
    (tmp_path / "s.toml").write_text(schema_toml(SCHEMA))
    assert message in fails(capsys, "schema", "a.csv", *words)
