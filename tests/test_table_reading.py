"""Tables in files and in memory, and their rows as samples of a schema."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.csv_list import read_csv, read_files
from mosaic_fl.data.memory import from_table, values_of
from mosaic_fl.data.sources import load_file, load_test
from mosaic_fl.data.table.differences import differences
from mosaic_fl.data.table.reading import frame_of, read_frame
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.table import Column, Table
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import Note

AGE = Column("age", "whole", low=0, high=100, knots=(0, 50, 100))
WEIGHT = Column("weight", "numeric", low=30, high=130, knots=(30, 130), missing=True)
SMOKER = Column("smoker", "boolean", missing=True)
STAGE = Column("stage", "category", categories=("1", "2", "high"), missing=True)
SCHEMA = Schema({"table": Table((AGE, WEIGHT, SMOKER, STAGE), "outcome")}, ("no", "yes"))
HEADER = "age,weight,smoker,stage,outcome\n"
NAN = float("nan")
VALUES = torch.tensor([[31, 70.5, 1, 2], [54, NAN, 0, 0], [47, 90, NAN, 1]])


def write(path: Path, *lines: str, header: str = HEADER) -> Path:
    path.write_text(header + "".join(f"{line}\n" for line in lines))
    return path


def same(data: Dataset) -> bool:
    return torch.allclose(data.images, VALUES, equal_nan=True) and data.labels.tolist() == [0, 1, 0]


def test_a_csv_file_is_read_by_the_schema(tmp_path: Path) -> None:
    """The three rows in four forms of the same words."""
    rows = ["31,70.5,yes,high,no", "54,?,no,1,yes", "47,90,,2,no"]
    assert same(load_file(write(tmp_path / "a.csv", *rows), schema=SCHEMA))
    spaced = ["31, 70.5, TRUE, high, no", "54, null, False, 1.0, yes", "47, 9e1, na, 2, no"]
    assert same(load_file(write(tmp_path / "b.csv", *spaced), schema=SCHEMA))
    semicolons = [row.replace(",", ";") for row in rows]
    assert same(load_file(write(tmp_path / "c.csv", *semicolons, header=HEADER.replace(",", ";")), schema=SCHEMA))
    reversed_columns = [",".join(reversed(row.split(","))) for row in rows]
    path = write(tmp_path / "d.csv", *reversed_columns, header="outcome,stage,smoker,weight,age\n")
    assert same(load_test(path, SCHEMA))


FRAME = pd.DataFrame(
    {
        "age": [31, 54, 47],
        "weight": [70.5, None, 90],
        "smoker": [True, False, None],
        "stage": pd.Categorical(["high", "1", "2"]),
        "outcome": ["no", "yes", "no"],
    }
)


def test_parquet_frames_and_columns_are_read_alike(tmp_path: Path) -> None:
    FRAME.to_parquet(tmp_path / "a.parquet")
    assert same(load_file(tmp_path / "a.parquet", schema=SCHEMA))
    assert same(from_table(FRAME, "outcome", SCHEMA))
    assert same(from_table(FRAME.drop(columns="outcome"), ["no", "yes", "no"], SCHEMA))
    assert same(from_table(FRAME.drop(columns="outcome"), np.array([0, 1, 0]), SCHEMA))
    assert same(from_table({name: list(FRAME[name]) for name in FRAME}, "outcome", SCHEMA))
    numbers = np.array([[31, 70.5, 1], [54, NAN, 0], [47, 90, NAN]])
    columns = {**dict(zip(("age", "weight", "smoker"), numbers.T, strict=True)), "stage": ["high", 1, "2"]}
    assert same(from_table(columns, FRAME.outcome, SCHEMA))


class PolarsLike:
    """What a frame of polars offers: its column names, and series that become arrays."""

    @property
    def columns(self) -> list[str]:
        return list(FRAME.columns)

    def __getitem__(self, name: str) -> Any:
        return FRAME[name].astype(object).where(FRAME[name].notna(), None).to_numpy()


def test_a_frame_of_polars_is_read_by_its_columns() -> None:
    assert same(from_table(PolarsLike(), "outcome", SCHEMA))


def test_an_array_has_names_or_the_schema_s_order() -> None:
    schema = Schema({"table": Table((AGE, WEIGHT), "outcome")}, ("no", "yes"))
    array = np.array([[31, 70.5], [54, NAN]])
    expected = torch.tensor([[31, 70.5], [54, NAN]])
    assert torch.allclose(values_of(array, schema), expected, equal_nan=True)
    assert torch.allclose(values_of(torch.tensor(array), schema), expected, equal_nan=True)
    data = from_table(array[:, ::-1], ["no", "yes"], schema, names=["weight", "age"])
    assert torch.allclose(data.images, expected, equal_nan=True)
    with pytest.raises(UsageError, match="the table has 2 columns, and there are 1 names"):
        frame_of(array, ["age"])
    with pytest.raises(UsageError, match=r"has the shape \(2,\): give \(n, columns\)"):
        frame_of([1, 2])
    with pytest.raises(UsageError, match="different lengths"):
        frame_of({"a": [1, 2], "b": [1]})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (",70,yes,1,no", "line 3 of .* has no value in column 'age', which is never missing by the schema: all sites"),
        (
            "old,70,yes,1,no",
            "line 3 of .* has 'old' in column 'age', which is whole: write a whole number, or add the w",
        ),
        ("3.5,70,yes,1,no", "line 3 of .* has '3.5' in column 'age', which is whole"),
        (
            '31,"70,5",yes,1,no',
            "line 3 of .* has '70,5' in column 'weight', which is numeric: write a point, as in 1.5, or all",
        ),
        ("31,inf,yes,1,no", "line 3 of .* has 'inf' in column 'weight'"),
        ("31,1_0,yes,1,no", "line 3 of .* has '1_0' in column 'weight'"),
        ("31,70,maybe,1,no", "line 3 of .* has 'maybe' in column 'smoker', which is boolean: write true or false"),
        ("31,70,yes,1,perhaps", "class perhaps of .* is none of the classes no, yes"),
        ("31,70,yes,1,?", "line 3 of .* has no label"),
        ("31,70,yes,1", "line 3 of .* has 4 cells, and the header 5"),
    ],
)
def test_a_row_that_cannot_be_read_is_told_with_its_line(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path / "a.csv", "31,70,yes,1,no", line)
    with pytest.raises(UsageError, match=message):
        load_file(path, schema=SCHEMA)


def test_a_category_never_seen_is_missing_where_it_may_be(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "31,70.5,yes,high,no", "54,,no,low,yes")
    with pytest.warns(Note, match="column 'stage' of .* has 1 row with a category that the schema does not have"):
        data = load_file(path, schema=SCHEMA)
    assert data.images[:, 3].isnan().tolist() == [False, True]
    strict = Table((AGE, Column("stage", "category", categories=("1", "high"))), "outcome")
    with pytest.raises(UsageError, match="line 3 of .* has 'low' in column 'stage', a category that the schema does n"):
        load_file(path, schema=Schema({"table": strict}, ("no", "yes")))


def test_a_column_that_is_lacking_or_more(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "31,no,4", "54,yes,5", header="age,outcome,ward\n")
    with pytest.warns(Note) as notes:
        data = load_file(path, schema=SCHEMA)
    said = [str(one.message) for one in notes]
    assert any("the schema does not have are not read: ward" in text for text in said)
    assert any("lacks columns of the schema, which count as missing: weight, smoker, stage" in text for text in said)
    assert data.images.isnan().tolist() == [[False, True, True, True]] * 2
    path = write(tmp_path / "b.csv", "70,no", header="weight,outcome\n")
    with pytest.raises(UsageError, match="has no column 'age', which the schema says is never missing: name it so in"):
        load_file(path, schema=SCHEMA)


def test_a_number_may_stand_for_a_missing_value() -> None:
    schema = Schema({"table": Table((WEIGHT, SMOKER), "outcome", ("-9", "unknown"))}, ("no", "yes"))
    for weights in ([70, -9, 80], ["70", "-9", "80"], ["70", "Unknown", "80"]):
        values = values_of({"weight": weights, "smoker": ["yes", "no", "yes"]}, schema)
        assert values[:, 0].isnan().tolist() == [False, True, False]


def test_rows_without_a_value_are_left_out_and_told(tmp_path: Path) -> None:
    schema = Schema({"table": Table((WEIGHT, SMOKER), "outcome")}, ("no", "yes"))
    path = write(tmp_path / "a.csv", "70,yes,no", ",?,yes", "80,,yes", header="weight,smoker,outcome\n")
    with pytest.warns(Note, match="1 of the 3 rows of .* have no value in any column: left out"):
        data = load_file(path, schema=schema)
    assert data.labels.tolist() == [0, 1]


def test_other_units_are_told(tmp_path: Path) -> None:
    rows = ["31,70500,,,no", "54,81000,,,yes", "54,81,,,yes"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of so few, a median says nothing
        load_file(write(tmp_path / "few.csv", *rows), schema=SCHEMA)
    path = write(tmp_path / "a.csv", *rows * 7)
    with pytest.warns(
        Note, match="column 'weight' of .* has the median 7.05e.04, and its range .* 30..130: compare the"
    ):
        load_file(path, schema=SCHEMA)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("age,age,outcome\n1,2,no\n", "has 2 columns called 'age': give each a name of its own"),
        ("31,70,no\n54,80,yes\n", "the header line of .* has '31' for a name: write a line with the names"),
        ("age,outcome\n", "has no rows"),
        ("", "is empty"),
    ],
)
def test_a_file_that_is_no_table(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_frame(tmp_path / "a.csv")


def test_a_column_without_a_name_is_not_read(tmp_path: Path) -> None:
    """pandas writes its index so."""
    FRAME.to_csv(tmp_path / "a.csv")
    with pytest.warns(Note, match="has no name in the header line: it is not read"):
        frame = read_frame(tmp_path / "a.csv")
    assert list(frame.columns) == list(FRAME.columns)


def test_the_label_is_no_feature(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "31,70,yes,1,no")
    with pytest.raises(UsageError, match="column 'age' is the label and a feature of the schema"):
        load_file(path, ReadingConfig(label_column="age"), SCHEMA)
    with pytest.raises(UsageError, match="unknown column 'target': did you mean stage or age"):
        load_file(path, ReadingConfig(label_column="target"), SCHEMA)


def test_a_table_without_a_schema_is_told_where_to_get_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "31,70,yes,1,no")
    with pytest.raises(UsageError, match="is a table: all sites need one schema of its columns; mosaic schema"):
        load_file(path, ReadingConfig(label_column="outcome"))
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(UsageError, match="a.png is no table, and the schema says rows of 4 columns, 2 classes"):
        load_file(tmp_path / "a.png", schema=SCHEMA)


def test_settings_of_pictures_have_no_effect(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", *["31,70,yes,1,no"] * 2)
    with pytest.warns(Note, match="is a table: it has no use for data.image_size, data.skip_broken"):
        load_file(path, ReadingConfig(image_size=8, skip_broken=True), SCHEMA)


def test_one_row_is_no_data_to_learn_from(tmp_path: Path) -> None:
    """It is enough to be measured on."""
    path = write(tmp_path / "a.csv", "31,70,yes,1,no")
    with pytest.raises(UsageError, match="a.csv has 1 row to learn from: a client needs 2"):
        load_file(path, schema=SCHEMA)
    assert len(load_test(path, SCHEMA)) == 1


def test_times_and_missing_values_of_pandas() -> None:
    times = pd.Series(pd.to_datetime(["2024-01-31", None]))
    days = frame_of({"day": times}).columns["day"].tolist()
    assert (days[0][:10], days[1]) == ("2024-01-31", "")
    whole = pd.Series([3, None], dtype="Int64")
    assert np.isnan(frame_of({"n": whole}).columns["n"]).tolist() == [False, True]
    assert frame_of({"text": pd.Series(["a", None], dtype="string")}).columns["text"].tolist() == ["a", ""]


def test_a_line_of_separators_alone_is_a_row(tmp_path: Path) -> None:
    """So the numbers of rows are those of other programs; a blank line is none."""
    path = write(tmp_path / "a.csv", "31,70.5,yes,high,no", ",,,,", "", "  ", ",,", "54,,no,1,yes")
    assert read_frame(path).lines == [2, 3, 6, 7]
    with pytest.warns(Note, match="2 rows of .* without any value: left out"):
        assert load_file(path, schema=SCHEMA).labels.tolist() == [0, 1]
    assert read_frame(write(tmp_path / "b.csv", "4", '""', header=",,\nage\n")).lines == [3, 4]
    pd.DataFrame({"weight": [70.0, None, 80], "outcome": ["no", None, "yes"]}).to_parquet(tmp_path / "c.parquet")
    schema = Schema({"table": Table((WEIGHT,), "outcome")}, ("no", "yes"))
    with pytest.warns(Note, match="1 row of .* without any value: left out"):
        assert len(load_file(tmp_path / "c.parquet", schema=schema)) == 2


def test_a_list_of_images_with_a_line_of_separators_alone(tmp_path: Path) -> None:
    for name in ("0.png", "1.png"):
        Image.new("L", (8, 8)).save(tmp_path / name)
    path = write(tmp_path / "a.csv", "0.png,cat", ",", "1.png,dog", header="file,label\n")
    with pytest.warns(Note, match="1 line of .* without any value: left out"):
        assert len(read_csv(path).pictures) == 2
    assert [name for name, _ in read_files(path)] == ["0.png", "", "1.png"]


def test_a_table_without_a_schema_or_a_label_column_is_told_what_it_needs(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "31,70.5,yes,high,no")
    FRAME.to_parquet(tmp_path / "a.parquet")
    for file in (path, tmp_path / "a.parquet"):
        with pytest.raises(UsageError, match=r"if it is a table: --label-column NAME \(run\) or --schema FILE \(contr"):
            load_file(file)


def test_a_column_under_another_name_is_told_with_its_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", *["31,70,yes,high,no"] * 2, header="age,Wieght,smoker,other,outcome\n")
    with pytest.warns(Note, match=r"lacks columns .* as missing: weight \(did you mean Wieght\?\), stage$"):
        load_file(path, schema=SCHEMA)
    path = write(tmp_path / "b.csv", "31,no", header="Age,outcome\n")
    with pytest.raises(UsageError, match=r"has no column 'age' \(did you mean Age\?\), which"):
        load_file(path, schema=SCHEMA)


def test_categories_never_seen_are_named_and_a_column_of_them_alone_is_refused(tmp_path: Path) -> None:
    rows = [f"31,70,yes,{word},no" for word in ("I", "II", "III", "IV", "V", "VI")]
    with pytest.warns(Note, match=r"6 rows with .* \('I', 'II', 'III', 'IV', 'V', … \(6 in all\)\): they"):
        load_file(write(tmp_path / "a.csv", *rows, "31,70,yes,high,no"), schema=SCHEMA)
    path = write(tmp_path / "b.csv", *rows)
    with pytest.raises(UsageError, match="all values in column 'stage' of .* are categories .* it has 1, 2, high"):
        load_file(path, schema=SCHEMA)
    fatal = [one.text for one in differences(read_frame(path), SCHEMA, ReadingConfig()) if one.fatal]
    assert [text for text in fatal if "these are all its values" in text] == fatal != []
