"""The kind `table`: rows at rest, their encoding for a network, and the schema of its columns."""

import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.table import Column, Table
from mosaic_fl.errors import UsageError
from mosaic_fl.numerics.randomness import Stream

AGE = Column("age", "numeric", low=0, high=10, knots=(0, 1, 10))
VISITS = Column("visits", "whole", low=0, high=100, knots=(2, 4), missing=True)
SMOKER = Column("smoker", "boolean", missing=True)
COLOUR = Column("colour", "category", categories=("red", "green", "blue"), missing=True)
TABLE = Table((AGE, VISITS, SMOKER, COLOUR), label="outcome")
NAN = float("nan")
ROWS = torch.tensor([[0.5, 3, 1, 2], [10, NAN, NAN, NAN], [5.5, 0, 0, 0]])
# age: one value; visits: value, missing; smoker: value, missing; colour: red, green, blue, missing.
# age 0.5 is half way from knot 0 to 1 of 0, 1, 10: a quarter of the way, −0.5 of −1..1. 5.5 is half way from 1 to 10.
# visits bend at 0, 2, 4, 100: 3 is in the middle.
INPUTS = torch.tensor(
    [
        [-0.5, 0, 0, 1, 0, 0, 0, 1, 0],
        [1, 0, 1, 0, 1, 0, 0, 0, 1],
        [0.5, -1, 0, -1, 0, 1, 0, 0, 0],
    ]
)


def test_rows_become_positions_one_hot_codes_and_indicators_and_come_back() -> None:
    assert TABLE.shape == (9,)
    inputs = TABLE.to_network(ROWS)
    assert torch.allclose(inputs, INPUTS)
    assert inputs.dtype == torch.float32
    assert torch.allclose(TABLE.to_rest(inputs), ROWS, equal_nan=True)


def test_values_beyond_the_range_are_clamped_and_outputs_take_the_nearest_value() -> None:
    beyond = torch.tensor([[-3.0, 1000, 0, 1], [99, -5, 1, 1]])
    assert TABLE.to_network(beyond)[:, :2].tolist() == [[-1, 1], [1, -1]]
    outputs = torch.tensor([[7.0, 0.1, 0.4, -0.2, 0.6, 0.3, 0.9, 0.2, 0.5], [NAN] * 9])
    # visits at 0.1 of −1..1: 1.65 of 3 steps, so 65 % of the way from 2 to 4, 3.3, which is rounded
    assert torch.allclose(TABLE.to_rest(outputs[:1]), torch.tensor([[10.0, 3, NAN, 1]]), equal_nan=True)
    TABLE.check(TABLE.to_rest(outputs))


def test_every_row_comes_back_from_the_network() -> None:
    rows = TABLE.prior("uniform", 500, Stream(0, "test"))
    TABLE.check(rows)
    assert not bool(rows.isnan().any())
    assert torch.allclose(TABLE.to_rest(TABLE.to_network(rows)), rows, rtol=1e-5, atol=1e-5)
    assert sorted(rows[:, 3].unique().tolist()) == [0, 1, 2]
    assert len(TABLE.to_network(rows[:0])) == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (ROWS.double(), r"rows are torch.float64 \(3, 4\), the schema says float32 \(n, 4\)"),
        (ROWS[:, :3], r"rows are torch.float32 \(3, 3\)"),
        (torch.tensor([[NAN, 1, 1, 1]]), "row 0 has nan in column 'age', which is a finite number and never missing"),
        (torch.tensor([[1, float("inf"), 1, 1]]), "row 0 has inf in column 'visits', which is a finite number or miss"),
        (torch.tensor([[1.0, 1, 1, 3]]), r"row 0 has 3 in column 'colour', which is a code in 0\.\.2 or missing"),
        (torch.tensor([[1.0, 1, 0.5, 2]]), "row 0 has 0.5 in column 'smoker', which is 0 or 1 or missing"),
        (torch.tensor([[1.0, 1, 1, 1], [1, 1, 1, -1]]), "row 1 has -1 in column 'colour'"),
    ],
)
def test_values_that_are_none_of_the_schema_are_refused(values: Tensor, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TABLE.check(values)


def test_a_schema_comes_back_from_json() -> None:
    schema = Schema({"table": TABLE}, ("no", "yes"))
    assert Schema.from_json(schema.to_json()) == schema
    assert hash(Schema.from_json(schema.to_json())) == hash(schema)
    assert schema.summary == "rows of 4 columns, 2 classes"
    assert Table.from_json(Table((AGE,), "y", ("unknown",)).to_json()).missing == ("unknown",)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"type": "date"}, "unknown type of column 'x' 'date': known: numeric, whole, boolean, category"),
        ({"type": "integer"}, "unknown type of column 'x' 'integer': known: numeric, whole, boolean, category"),
        ({"low": 5}, r"column 'x' has knots 0..10 out of its range 5..10"),
        ({"knots": [0]}, "column 'x' has 1 knots"),
        ({"knots": [0, 0, 1]}, "the knots of column 'x' do not increase"),
        ({"knots": [0, 1, 1 + 1e-12]}, "the knots of column 'x' do not increase in 32 bits"),
        ({"knots": [0, float("inf")]}, "column 'x' has inf in its range or knots"),
        ({"knots": [False, True]}, "column 'x' has 'knots' = "),
        ({"knots": list(range(1001))}, "column 'x' has 'knots' = "),
        ({"high": "10"}, "column 'x' has 'high' = '10'"),
        ({"missing": 1}, "column 'x' has 'missing' = 1"),
        ({"secret": 1}, "column 'x' has 'secret' = 1"),
        ({"categories": ["a"]}, "column 'x' is numeric, and has categories"),
        ({"type": "category"}, "column 'x' has 0 categories"),
        ({"name": "x\n"}, "column name"),
        ({"name": ""}, "a column has no name"),
        ({"name": None}, "a column of the schema has no name and type"),
    ],
)
def test_a_received_column_out_of_bounds_is_refused(changed: dict[str, Any], message: str) -> None:
    column = {"name": "x", "type": "numeric", "low": 0, "high": 10, "knots": [0, 10]}
    Table.from_json({"kind": "table", "columns": [column]})
    with pytest.raises(UsageError, match=message):
        Table.from_json({"kind": "table", "columns": [column | changed]})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Table(()), "a table of 0 columns"),
        (lambda: Table((AGE,) * 2001), "a table of 2001 columns"),
        (lambda: Table((AGE, AGE)), "column 'age' is there twice"),
        (lambda: Table((AGE,), "age"), "column 'age' is the label and a feature"),
        (lambda: Table((AGE,), "y", ("a",) * 101), "101 words for a missing value"),
        (lambda: Column("c", "category", ("a", "a")), "column 'c' names a category twice"),
        (lambda: Column("c", "category", tuple(map(str, range(1001)))), "column 'c' has 1001 categories"),
        (lambda: Column("c", "boolean", knots=(0, 1)), "column 'c' is boolean, and has a range"),
        (lambda: Table.from_json({"kind": "table", "columns": "age"}), "no list of at most 2000 columns"),
        (lambda: Table.from_json({"kind": "table", "columns": [], "missing": "?"}), "no list of at most 2000 columns"),
    ],
)
def test_a_table_out_of_bounds_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()


def test_a_received_table_cannot_ask_for_a_network_without_limit() -> None:
    wide = tuple(Column(f"c{i}", "category", tuple(map(str, range(1000)))) for i in range(101))
    with pytest.raises(UsageError, match="a row of this table gives a network 101,000 values"):
        Table(wide)


@pytest.mark.parametrize(
    ("columns", "difference"),
    [
        ((VISITS, SMOKER, COLOUR), "no column 'age'"),
        ((AGE, VISITS, SMOKER, COLOUR, Column("more", "boolean")), "a column 'more' more"),
        (
            (Column("age", "whole", low=0, high=10, knots=(0, 10)), VISITS, SMOKER, COLOUR),
            "column 'age' whole, not num",
        ),
        (
            (Column("age", "numeric", low=0, high=12, knots=(0, 10)), VISITS, SMOKER, COLOUR),
            "'age' from 0 to 12, not f",
        ),
        ((Column("age", "numeric", low=0, high=10, knots=(0, 10)), VISITS, SMOKER, COLOUR), "'age' with other knots"),
        (
            (AGE, VISITS, Column("smoker", "boolean"), COLOUR),
            "'smoker' that is never missing, not one that may be miss",
        ),
        ((AGE, VISITS, SMOKER, Column("colour", "category", ("red",))), "'colour' without the category 'green'"),
        ((AGE, SMOKER, VISITS, COLOUR), "its columns in another order"),
    ],
)
def test_the_first_difference_is_told(columns: tuple[Column, ...], difference: str) -> None:
    assert difference in Table(columns, "outcome").difference(TABLE)


def test_a_table_says_what_it_is() -> None:
    assert TABLE.default_models() == ("mlp:128:2",)
    assert TABLE.prior_source("auto") == "none"
    with pytest.raises(UsageError, match="unknown prior of a table 'photos'"):
        TABLE.check_prior("photos")
    assert "the classes in column '', not 'outcome'" in Table(TABLE.columns).difference(TABLE)


def test_a_table_travels_without_what_it_has_computed() -> None:
    TABLE.to_network(ROWS)
    again = pickle.loads(pickle.dumps(TABLE))  # noqa: S301
    assert again == TABLE
    assert "encoding" not in vars(again)
    assert torch.allclose(again.to_network(ROWS), INPUTS)


def test_a_table_that_was_first_used_on_the_meta_device_still_has_its_values() -> None:
    """A network is outlined there before any data come."""
    fresh = Table(TABLE.columns, "outcome")
    with torch.device("meta"):
        fresh.to_network(torch.zeros(2, 4, device="meta"))
        fresh.check(torch.zeros(2, 4, device="cpu"))
    assert torch.allclose(fresh.to_network(ROWS), INPUTS)
