"""Which rows a global model answers for, in Python: those that `mosaic predict` answers for, too."""

import math

import pytest

import mosaic_fl
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.models import build
from mosaic_fl.numerics.states import copy_state

NOTHING = math.nan


@pytest.fixture
def model() -> GlobalModel:
    """Of rows with an age and a weight, either of which may be missing."""
    columns = {
        "age": [NOTHING if n % 7 == 0 else 20 + n * n % 61 for n in range(60)],
        "weight": [NOTHING if n % 7 == 1 else 50 + n * n % 37 + 0.5 for n in range(60)],
    }
    schema = mosaic_fl.from_table(columns, ["no", "yes"] * 30).schema
    return GlobalModel("mlp:4", schema, copy_state(build("mlp:4", schema)))


def test_a_row_without_any_value_has_no_answer(model: GlobalModel) -> None:
    rows = {"age": [33.0, NOTHING, 40.0, NOTHING], "weight": [70.5, NOTHING, NOTHING, NOTHING]}
    for ask in (model.predict, model.predict_proba, model.logits):
        with pytest.raises(UsageError, match=r"row 1.* has no value in any column \(2 rows have no answer\)"):
            ask(rows)  # type: ignore[arg-type]


def test_a_row_with_one_value_has_an_answer(model: GlobalModel) -> None:
    rows = {"age": [33.0, 40.0], "weight": [NOTHING, 61.5]}
    assert model.predict_proba(rows).shape == (2, 2)  # type: ignore[arg-type]
