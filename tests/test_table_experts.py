"""Estimators and ONNX files at sites whose samples are rows of a table."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="mosaic-fl[trees] is not installed")
pytest.importorskip("skl2onnx", reason="mosaic-fl[trees] is not installed")
import skl2onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression

import mosaic_fl
from command import mosaic
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.experts.conversion import to_onnx
from mosaic_fl.notes import Note

UNIFORM = ["--set", "distill.prior=uniform", "--set", "distill.steps=100", "--set", "distill.pool=600"]
NO_GENERATOR = {"generator.family": "none"}


def table(n: int = 400) -> dict[str, Any]:
    """Ages with gaps, a category, and an outcome that age and place decide."""
    rng = np.random.default_rng(0)
    age = rng.integers(20, 90, n).astype(float)
    place = rng.choice(["north", "south", "west"], n)
    ill = (age + 20 * (place == "west") + rng.normal(0, 5, n)) > 62
    age[rng.random(n) < 0.1] = np.nan
    return {"age": age, "place": list(place), "ill": ["yes" if value else "no" for value in ill]}


@pytest.fixture(scope="module")
def rows() -> Dataset:
    columns = table()
    return mosaic_fl.from_table({name: columns[name] for name in ("age", "place")}, columns["ill"])


def received(data: Dataset, model: Any) -> Contribution:
    sent = mosaic_fl.contribute(data, model=model, client=0, settings=NO_GENERATOR)
    return Contribution.from_bytes(sent.to_bytes())


def right(contribution: Contribution, data: Dataset) -> float:
    answers = contribution.build_expert().log_probabilities(data.samples)
    return float((answers.argmax(1) == data.labels).float().mean())


@pytest.mark.parametrize("model", ["random_forest:20", "xgboost:20", "lightgbm:20", "logistic"])
def test_estimators_learn_encoded_rows(rows: Dataset, model: str) -> None:
    assert right(received(rows, model), rows) > 0.8  # 0.5 of either class


def test_a_model_of_raw_columns_takes_them_with_their_gaps(rows: Dataset, tmp_path: Path) -> None:
    """Two columns are five encoded values, so its width says what it takes."""
    raw = rows.samples.only.numpy()
    assert np.isnan(raw).any()
    fitted = HistGradientBoostingClassifier(max_iter=10).fit(raw, rows.labels)
    expected = float((fitted.predict(raw) == rows.labels.numpy()).mean())
    assert expected > 0.9
    assert right(received(rows, fitted), rows) == pytest.approx(expected)
    file = tmp_path / "raw.onnx"
    file.write_bytes(to_onnx(fitted, 2, ["no", "yes"], rest=True))
    with pytest.warns(Note, match="model onnx:raw-.* is not trained here"):
        assert right(received(rows, str(file)), rows) == pytest.approx(expected)
    assert right(received(rows, file), rows) == pytest.approx(expected)


@pytest.mark.parametrize("rest", [True, False])
def test_what_a_model_takes_is_tried_where_both_have_one_width(rest: bool, tmp_path: Path) -> None:
    """Thirty numbers without a gap are thirty encoded values: the training rows show which of them it was fitted to."""
    loaded = load_breast_cancer()
    names = np.array(loaded.target_names)
    data = mosaic_fl.from_table(dict(zip(loaded.feature_names, loaded.data.T, strict=True)), names[loaded.target])
    order = list(data.schema.classes)
    values: Any = data.samples.only if rest else data.samples.inputs()
    fitted = RandomForestClassifier(10, random_state=0).fit(values.numpy(), np.array(order)[data.labels.numpy()])
    words = "values as they are stored" if rest else "values as networks take them"
    with pytest.warns(Note, match=f"fits values at rest and encoded ones: it is given {words}"):
        assert right(received(data, fitted), data) > 0.98
    file = tmp_path / "mine.onnx"
    content = to_onnx(fitted, 30, order, rest=rest)
    file.write_bytes(content.replace(b"mosaic.inputs", b"another.value"))  # an export that says nothing
    with pytest.warns(Note, match=f"model onnx:mine-.* it is given {words}"):
        assert right(received(data, file), data) > 0.98


def test_the_commands_of_two_hospitals(tmp_path: Path) -> None:
    """A schema, a forest and boosted trees, one model; the words are the user's."""
    columns = table(600)
    for name, part in (("a", slice(0, 250)), ("b", slice(250, 500)), ("test", slice(500, 600))):
        chosen = zip(*(values[part] for values in columns.values()), strict=True)
        lines = [",".join("" if value != value else str(value) for value in row) for row in chosen]
        (tmp_path / f"{name}.csv").write_text("\n".join([",".join(columns), *lines]) + "\n")
    mosaic("schema", "a.csv", "--label-column", "ill", "--out", "ill.toml", cwd=tmp_path)
    for client, (name, model) in enumerate([("a", "random_forest:20"), ("b", "xgboost:20")]):
        words = ["contribute", "--data", f"{name}.csv", "--schema", "ill.toml", "--model", model, "--generator", "none"]
        mosaic(*words, "--client", str(client), "--out", f"{name}.contribution", cwd=tmp_path)
    sent = ["a.contribution", "b.contribution"]
    mosaic("distill", *sent, "--test", "test.csv", "--out", "global", *UNIFORM, cwd=tmp_path)
    result = json.loads((tmp_path / "global" / "result.json").read_text())
    assert result["models"] == ["onnx:random_forest:20", "onnx:xgboost:20"]
    assert result["teacher_accuracy"] > 0.8


def test_catboosts_own_export_is_taken(rows: Dataset, tmp_path: Path) -> None:
    """It always ends in a dictionary a sample, and has the classes' names in it."""
    catboost = pytest.importorskip("catboost", reason="catboost is not installed")
    values: Any = rows.samples.inputs()
    names = np.array(rows.schema.classes)[rows.labels.numpy()]
    fitted = catboost.CatBoostClassifier(iterations=20, verbose=False, allow_writing_files=False)
    fitted.fit(values.numpy(), names)
    fitted.save_model(str(tmp_path / "cat.onnx"), format="onnx")
    contribution = received(rows, tmp_path / "cat.onnx")
    answers = contribution.build_expert().log_probabilities(rows.samples)
    assert np.abs(answers.exp().numpy() - fitted.predict_proba(values.numpy())).max() < 1e-5


@pytest.mark.parametrize("words", [False, True])
def test_dictionaries_become_columns_at_the_site(rows: Dataset, tmp_path: Path, words: bool) -> None:
    """As skl2onnx exports unless it is told not to; a received model of this kind is refused."""
    values: Any = rows.samples.inputs()
    labels = np.array(rows.schema.classes)[rows.labels.numpy()] if words else rows.labels.numpy()
    fitted = LogisticRegression().fit(values.numpy(), labels)
    types = [("x", FloatTensorType([None, values.shape[1]]))]
    made = skl2onnx.convert_sklearn(fitted, initial_types=types, target_opset=18)
    (tmp_path / "map.onnx").write_bytes(made.SerializeToString())
    contribution = received(rows, tmp_path / "map.onnx")
    answers = contribution.build_expert().log_probabilities(rows.samples)
    assert np.abs(answers.exp().numpy() - fitted.predict_proba(values.numpy())).max() < 1e-5
