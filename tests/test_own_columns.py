"""Fitted models of a site's own that are of other columns or codes than the schema: refused, or told."""

import warnings
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="mosaic-fl[trees] is not installed")
pytest.importorskip("skl2onnx", reason="mosaic-fl[trees] is not installed")
pytest.importorskip("pandas", reason="pandas is not installed")
import pandas as pd
from lightgbm import LGBMClassifier
from sklearn.ensemble import RandomForestClassifier

import mosaic_fl
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import Note


@pytest.fixture(scope="module")
def rows() -> Dataset:
    """Of an age, a dose and a place, which decides the outcome with the age."""
    rng = np.random.default_rng(0)
    age = rng.integers(20, 90, 300).astype(float)
    place = rng.choice(["north", "south", "west"], 300)
    ill = age + 30 * (place == "west") > 70
    columns = {"age": age, "dose of it": rng.normal(size=300), "place": place.tolist()}
    return mosaic_fl.from_table(columns, ["yes" if value else "no" for value in ill])


def frame_of(rows: Dataset) -> Any:
    """The rows as they are stored, with the names of their columns."""
    return pd.DataFrame(rows.samples.only.numpy(), columns=["age", "dose of it", "place"])


def fitted(frame: Any, rows: Dataset) -> Any:
    return RandomForestClassifier(15, random_state=0).fit(frame, rows.labels.numpy())


def send(rows: Dataset, model: Any) -> None:
    mosaic_fl.contribute(rows, model=model, client=0, settings={"generator.family": "none"})


def test_the_schemas_columns_in_their_order_are_taken(rows: Dataset) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*most frequent class")
        send(rows, fitted(frame_of(rows), rows))
        send(rows, fitted(frame_of(rows).to_numpy(), rows))
        send(rows, LGBMClassifier(n_estimators=5, verbose=-1).fit(frame_of(rows), rows.labels.numpy()))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["place", "dose of it", "age"], "their order is 'age, dose of it, place'"),
        (["age", "weight", "place"], "it lacks 'dose of it' and it has 'weight' beside"),
        (["age", "place"], "it lacks 'dose of it'"),
        (["age", "dose of it", "place", "ill"], "it has 'ill' beside"),
        (["a", "b", "c"], "is fitted to the columns 'a, b, c', and the schema has 'age, dose of it, place'"),
    ],
)
def test_other_columns_are_refused(rows: Dataset, names: list[str], said: str) -> None:
    frame = frame_of(rows).assign(ill=0.0, weight=1.0, a=1.0, b=2.0, c=3.0)[names]
    with pytest.raises(UsageError, match=said):
        send(rows, fitted(frame, rows))


def test_lightgbm_says_how_it_counts_categories(rows: Dataset) -> None:
    frame = frame_of(rows)
    words = np.array(["west", "south", "north"])[frame["place"].astype(int)]
    for order, refused in ((["west", "south", "north"], True), (["north", "south", "west"], False)):
        frame["place"] = pd.Categorical(words, categories=order)
        model = LGBMClassifier(n_estimators=5, verbose=-1, min_child_samples=5).fit(frame, rows.labels.numpy())
        if refused:
            with pytest.raises(UsageError, match="counts the categories of 'place' as 'west, south, north', and the"):
                send(rows, model)


def test_codes_that_nobody_can_compare_are_told_by_their_figures(rows: Dataset) -> None:
    """A column of the years up to a hundred in place of the age, of the same width: worse than a constant answer."""
    turned = frame_of(rows).to_numpy() * np.array([-1.0, 1.0, 1.0]) + np.array([100.0, 0.0, 0.0])
    model = RandomForestClassifier(15, random_state=0).fit(turned, rows.labels.numpy())
    with pytest.warns(Note, match="the most frequent class alone for .* were its columns, units and codes"):
        send(rows, model)
