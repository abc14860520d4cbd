"""Numbers with decimal commas: what a draft makes of them, and that all sites and predictions read them alike."""

from pathlib import Path

import numpy as np
import pytest

from command import mosaic
from mosaic_fl.config import DataConfig, ReadingConfig
from mosaic_fl.config.toml import read_toml
from mosaic_fl.data.fields.schema_toml import schema_of_toml, schema_toml
from mosaic_fl.data.memory import from_table, values_of
from mosaic_fl.data.schema_file import read_schema
from mosaic_fl.data.sources import load_file
from mosaic_fl.data.table.differences import differences
from mosaic_fl.data.table.draft import draft
from mosaic_fl.data.table.reading import frame_of, read_frame
from mosaic_fl.data.table.rows import table_of
from mosaic_fl.data.tables import splits_of
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.table import Table
from mosaic_fl.errors import UsageError
from mosaic_fl.numerics.randomness import Stream

N = 40
LABELS = ["no", "yes"] * (N // 2)
WEIGHTS = [50 + i / 4 for i in range(N)]
COMMAS = [f"{weight}".replace(".", ",") for weight in WEIGHTS]


def _table(**columns: list[str]) -> Table:
    return table_of(draft(frame_of({**columns, "outcome": LABELS}), "outcome", ignore={}, least=5).schema)


def test_a_european_file_is_drafted_and_read_as_the_same_file_with_points(tmp_path: Path) -> None:
    lines = [f"{comma};{30 + i // 2};{label}" for i, (comma, label) in enumerate(zip(COMMAS, LABELS, strict=True))]
    (tmp_path / "a.csv").write_text("weight;age;outcome\n" + "\n".join(lines))
    (tmp_path / "b.csv").write_text("weight;age;outcome\n" + "\n".join(lines).replace(",", "."))
    for name in "ab":
        mosaic("schema", f"{name}.csv", "--label-column", "outcome", "--out", f"{name}.toml", cwd=tmp_path)
    assert (tmp_path / "a.toml").read_text().count('decimal = ","') == 1
    assert "decimal" not in (tmp_path / "b.toml").read_text()
    schema = read_schema(tmp_path / "a.toml")
    points = read_schema(tmp_path / "b.toml")
    assert table_of(schema).columns == table_of(points).columns
    assert [column.type for column in table_of(schema).columns] == ["numeric", "whole"]
    for file in ("a.csv", "b.csv"):  # a site that writes points needs no other schema
        data = load_file(tmp_path / file, schema=schema)
        assert data.images[:, 0].tolist() == WEIGHTS
        assert not [d for d in differences(read_frame(tmp_path / file), schema, ReadingConfig()) if d.fatal]
    assert values_of({"weight": ["51,5"], "age": [31]}, schema).tolist() == [[51.5, 31]]
    assert "numbers with ',' before their decimals" in schema.difference(points)
    assert Schema.from_json(schema.to_json()) == schema
    with pytest.raises(UsageError, match='write a point, as in 1.5, or all sites write decimal = "," in their schema'):
        load_file(tmp_path / "a.csv", schema=points)


def test_a_point_beside_commas_is_no_decimal_sign() -> None:
    """1.250 among 51,5 and 52,5 is 1250 there: it is not read as 1.25."""
    schema = from_table({"weight": COMMAS, "outcome": LABELS}, "outcome").schema
    with pytest.raises(UsageError, match="row 0 .*'1.250' in column 'weight', which is numeric: write a comma"):
        values_of({"weight": ["1.250", "51,5", "52,5"]}, schema)


@pytest.mark.parametrize(
    "cells",
    [
        [f"{1 + i % 9},{i % 10}00" for i in range(N)],
        [f"{1 + i % 9}.{i % 10}00,5" for i in range(N)],
        [f"{1 + i % 9},{i % 10}00.5" for i in range(N)],
        [f"{1 + i % 9}'{i % 10}00" for i in range(N)],
        [f"{1 + i % 9} {i % 10}00" for i in range(N)],
    ],
)
def test_numbers_with_signs_between_thousands_are_left_out_with_what_to_do(cells: list[str]) -> None:
    """1,200 may be 1200 or 1.2: nobody knows, so nothing is guessed."""
    made = draft(frame_of({"x": cells, "y": [1, 2] * 20, "outcome": LABELS}), "outcome", ignore={}, least=5)
    assert "write 1234.5 for 1,234.5 or 1.234,5" in made.left_out["x"]
    assert table_of(made.schema).decimal == "."


def test_another_column_says_what_the_comma_of_three_digits_is() -> None:
    table = _table(x=[f"{1 + i % 9},{i % 10}00" for i in range(N)], weight=COMMAS)
    assert (table.decimal, [column.type for column in table.columns]) == (",", ["numeric", "numeric"])
    assert (table.columns[0].low, table.columns[0].high) == (2.0, 8.6)


def test_texts_with_commas_and_truth_values_stay_what_they_are() -> None:
    table = _table(pair=["1,5", "2,5", "high", "1,5"] * 10, flag=["0,0", "1,0"] * 20, weight=COMMAS)
    assert [column.type for column in table.columns] == ["category", "boolean", "numeric"]
    assert table.columns[0].categories == ("1,5", "2,5", "high")
    schema = Schema({"table": table}, ("no", "yes"))
    rows = {"pair": ["2,5", "high"], "flag": ["1,0", "0"], "weight": ["60,5", "7"]}
    assert values_of(rows, schema).tolist() == [[1, 1, 60.5], [2, 0, 7]]


def test_a_split_by_a_column_reads_commas_too() -> None:
    config = DataConfig(split_column="weight", label_column="outcome", name="a")
    splits = splits_of(frame_of({"weight": COMMAS, "outcome": LABELS}), None, config, Stream(0, "test"))
    assert splits.column is not None
    assert splits.column.dtype == np.float64


def test_the_sign_in_a_schema_is_a_point_or_a_comma(tmp_path: Path) -> None:
    text = schema_toml(Schema({"table": _table(weight=COMMAS)}, ("no", "yes")))
    path = tmp_path / "a.toml"
    path.write_text(text)
    assert table_of(schema_of_toml(read_toml(path))).decimal == ","
    for wrong in ('";"', "1", '[","]'):
        path.write_text(text.replace('decimal = ","', f"decimal = {wrong}"))
        with pytest.raises(UsageError, match="write a point or a comma"):
            read_schema(path)


def test_a_schema_from_memory_names_no_class_that_few_rows_have() -> None:
    labels = [*["no", "yes"] * 18, "rare", "rare", "odd", "no"]
    with pytest.warns(UserWarning, match="3 rows of classes that the schema leaves out"):
        data = from_table({"weight": WEIGHTS}, labels)
    assert data.schema.classes == ("no", "yes")
    assert len(data) == N - 3
    assert from_table({"weight": WEIGHTS}, labels, least_rows=1).schema.classes == ("no", "odd", "rare", "yes")
    with pytest.raises(UsageError, match="least_rows is 0"):
        from_table({"weight": WEIGHTS}, labels, least_rows=0)
