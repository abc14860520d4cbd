"""Estimators of other libraries at a site: fitted there, sent as ONNX, and the two answer alike."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("onnxruntime", reason="mosaic-fl[trees] is not installed")
pytest.importorskip("skl2onnx", reason="mosaic-fl[trees] is not installed")
pytest.importorskip("xgboost", reason="mosaic-fl[trees] is not installed")
pytest.importorskip("lightgbm", reason="mosaic-fl[trees] is not installed")
from lightgbm import LGBMClassifier
from onnx import ModelProto
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from xgboost import XGBClassifier

import mosaic_fl
from command import QUICK, fails, mosaic
from mosaic_fl.client.contribute import Site
from mosaic_fl.client.contribute import contribute as contribute_site
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.experts.conversion import require_agreement, to_onnx
from mosaic_fl.notes import Note
from mosaic_fl.training.monitor import Recorder

NO_GENERATOR = {"generator.family": "none"}
NEVER = -20.0  # a log-probability below this is of a class that the model does not know


def contribute(data: Dataset, model: Any, **more: Any) -> Contribution:
    """What arrives at a server."""
    sent = mosaic_fl.contribute(data, model=model, client=0, settings=NO_GENERATOR, **more)
    return Contribution.from_bytes(sent.to_bytes(figures=True))


def of_classes(digits: Dataset, *classes: int) -> Dataset:
    return digits.subset(torch.isin(digits.labels, torch.tensor(classes)).nonzero().flatten()[:400])


def as_rows(data: Dataset) -> Any:
    return data.samples.inputs().flatten(1).numpy()  # type: ignore[union-attr]


@pytest.mark.parametrize("model", ["random_forest:20", "xgboost:10", "lightgbm:10", "logistic"])
@pytest.mark.parametrize("classes", [tuple(range(10)), (3, 8), (5,)])
def test_what_arrives_is_an_onnx_model_of_the_sites_classes(
    digits: Dataset, model: str, classes: tuple[int, ...]
) -> None:
    data = of_classes(digits, *classes)
    received = contribute(data, model)
    assert received.architecture == f"onnx:{model}"
    assert list(received.expert) == ["model"]
    answers = received.build_expert().log_probabilities(data.samples)
    assert (answers.argmax(1) == data.labels).float().mean() > 0.95
    assert (answers.amax(0) > NEVER).nonzero().flatten().tolist() == list(classes)
    assert received.validation["accuracy"] > 0.6


UNFITTED = [
    RandomForestClassifier(10, random_state=0),
    ExtraTreesClassifier(10, random_state=0),
    HistGradientBoostingClassifier(max_iter=5),
    make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)),
    make_pipeline(StandardScaler(), LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1)),
    XGBClassifier(n_estimators=5, n_jobs=1),
    LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1),
    MLPClassifier((16,), max_iter=60, random_state=0),
    LinearSVC(),
]


@pytest.mark.parametrize("model", UNFITTED, ids=lambda model: type(model).__name__)
def test_any_estimator_is_fitted_at_the_site(digits: Dataset, model: Any) -> None:
    data = of_classes(digits, 1, 2, 7)
    received = contribute(data, model)
    assert received.architecture.startswith(f"onnx:{type(model).__name__}#")
    answers = received.build_expert().log_probabilities(data.samples)
    assert (answers.argmax(1) == data.labels).float().mean() > 0.95
    assert not hasattr(model, "classes_")  # the user's own object is as it was


@pytest.mark.parametrize("words", [False, True])
def test_a_fitted_estimator_is_sent_as_it_is(digits: Dataset, words: bool) -> None:
    """With labels or the classes' names; on the values that a network takes, or on the pixels themselves."""
    data = of_classes(digits, 2, 9)
    named = np.array(data.schema.classes)[data.labels.numpy()] if words else data.labels.numpy()
    fitted = RandomForestClassifier(10, random_state=0).fit(as_rows(data), named)
    with pytest.warns(Note, match="estimator:RandomForestClassifier#.* is fitted already"):
        received = contribute(data, fitted)
    answers = received.build_expert().log_probabilities(data.samples)
    expected = fitted.predict_proba(as_rows(data))
    assert np.abs(answers.exp().numpy()[:, [2, 9]] - expected).max() < 1e-5
    assert (answers.argmax(1) == data.labels).float().mean() > 0.95


def test_an_estimator_that_does_not_fit_is_refused(digits: Dataset) -> None:
    data = of_classes(digits, 2, 9)
    rows = as_rows(data)
    narrow = LogisticRegression().fit(rows[:, :5], data.labels)
    with pytest.raises(UsageError, match="LogisticRegression is fitted to 5 features, and these samples have 64 as"):
        contribute(data, narrow)
    elsewhere = LogisticRegression().fit(rows, np.where(data.labels == 2, 17, 18))
    with pytest.raises(UsageError, match=r"to the classes \[17, 18\]: they are no names of these classes and no lab"):
        contribute(data, elsewhere)
    with pytest.raises(UsageError, match=r"_Strange cannot be converted to ONNX .*: give a FILE.onnx"):
        contribute(data, _Strange().fit(rows, data.labels))
    with pytest.raises(MosaicError, match="RandomForestClassifier#.* cannot be fitted: InvalidParameterError"):
        contribute(data, RandomForestClassifier(max_depth=-1))
    with pytest.raises(UsageError, match="lightgbm:0': trees '0' is not a number in 1..2000"):
        contribute(data, "lightgbm:0")


class _Strange(GaussianNB):
    """An estimator that no converter knows."""


@pytest.mark.parametrize(
    "model",
    [
        KNeighborsClassifier(3),
        SVC(),
        make_pipeline(StandardScaler(), SVC(probability=False)),
        BaggingClassifier(SVC(), 2),
    ],
    ids=str,
)
def test_an_estimator_made_of_training_samples_does_not_leave(digits: Dataset, model: Any) -> None:
    with pytest.raises(UsageError, match=r"(KNeighborsClassifier|SVC) holds training samples as they are \("):
        contribute(of_classes(digits, 1, 2), model)


def test_trees_after_a_scaler_that_rounds_are_refused(digits: Dataset) -> None:
    """XGBoost puts thresholds on values; a scaler in float32 moves these by a bit to the other side."""
    model = make_pipeline(StandardScaler(), XGBClassifier(n_estimators=5, n_jobs=1))
    with pytest.raises(
        MosaicError, match="training samples: ONNX compares in float32, .* and scale nothing before trees"
    ):
        contribute(of_classes(digits, 1, 2, 7), model)


def test_a_model_that_answers_otherwise_than_its_estimator_is_not_sent(digits: Dataset) -> None:
    data = of_classes(digits, 0, 1, 6)
    rows = as_rows(data)
    fitted = LogisticRegression(max_iter=500).fit(rows, data.labels)
    expected = fitted.predict_proba(rows)
    require_agreement(fitted, rows, expected.astype(np.float32))
    with pytest.warns(Note, match="differ by up to 5e-06 in their probabilities"):
        require_agreement(fitted, rows, expected + 5e-6)
    wrong = expected.copy()
    wrong[3:5] = 1 / 3
    wrong[7, 1] = np.nan
    with pytest.raises(MosaicError, match=f"in 3 of {len(rows)} training samples: ONNX compares in float32"):
        require_agreement(fitted, rows, wrong)


def test_nothing_of_this_machine_leaves_with_a_model(digits: Dataset) -> None:
    """Only the classes' names, and what the columns are; the same estimator gives the same bytes."""
    data = of_classes(digits, 0, 1)
    fitted = LogisticRegression(max_iter=500).fit(as_rows(data), data.labels)
    contents = {to_onnx(fitted, 64, ["0", "1"], rest=False) for _ in range(2)}
    assert len(contents) == 1
    made = ModelProto.FromString(contents.pop())
    about = {"mosaic.classes": '["0", "1"]', "mosaic.inputs": "network", "mosaic.outputs": "probabilities"}
    assert {p.key: p.value for p in made.metadata_props} == about
    assert not made.doc_string
    assert not made.producer_name
    assert not any(part.name for part in made.graph.node)
    assert [output.name for output in made.graph.output] == ["probabilities"]


def test_the_seed_makes_the_same_model_again(digits: Dataset) -> None:
    data = of_classes(digits, 0, 1, 2)
    first, same, other = (contribute(data, "random_forest:5", seed=seed).expert["model"] for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_a_trained_contribution_is_taken_over(digits: Dataset) -> None:
    """A contribution in two steps: the model first, the generator later."""
    data = of_classes(digits, 0, 1)
    config = Config().with_values({"generator.steps": 5, "generator.width": 4})
    first = contribute(data, "random_forest:5")
    site = Site(0, data, "random_forest:5")
    second = contribute_site(site, config, torch.device("cpu"), lambda stage: Recorder(stage, 0), trained=first)
    assert second.architecture == first.architecture
    assert torch.equal(second.expert["model"], first.expert["model"])
    assert second.generator_spec is not None  # trained without gradients of a client's network


def test_sites_with_trees_a_network_and_a_file_distil_one_model(tmp_path: Path, digits: Dataset) -> None:
    data = of_classes(digits, *range(10))
    fitted = LogisticRegression(max_iter=500).fit(as_rows(data), data.labels)
    (tmp_path / "my model.onnx").write_bytes(to_onnx(fitted, 64, data.schema.classes, rest=False))
    mosaic("data", "--clients", "4", "--alpha", "10", "--export", "sites", "--out", "split.png", cwd=tmp_path)
    files = sorted((tmp_path / "sites").glob("*.parquet"))[:4]
    names = ["random_forest:20", "my model.onnx", "mlp:16", "xgboost:10"]
    for client, (file, name) in enumerate(zip(files, names, strict=True)):
        words = ["contribute", "--data", file, "--model", name, "--client", str(client), "--classes", "10", *QUICK]
        told = mosaic(*words, "--out", f"{client}.contribution", cwd=tmp_path)
        word = name.replace("my model.onnx", "onnx:my_model-")
        assert f"model {word}" in told
    foreseen = mosaic(*words, "--out", "x", "--dry-run", cwd=tmp_path)
    assert "Not counted: the bytes of clients' models that are no networks (xgboost:10)." in foreseen
    sent = [f"{client}.contribution" for client in range(4)]
    foreseen = mosaic("distill", *sent, "--student", "mlp:32", *QUICK, "--out", "global", "--dry-run", cwd=tmp_path)
    assert "forecast: " in foreseen
    mosaic("distill", *sent, "--test", files[0], "--student", "mlp:32", *QUICK, "--out", "global", cwd=tmp_path)
    result = json.loads((tmp_path / "global" / "result.json").read_text())
    assert [name.split("-")[0] for name in result["models"]] == [
        "onnx:random_forest:20", "onnx:my_model", "mlp:16", "onnx:xgboost:10"
    ]  # fmt: skip
    assert result["teacher_accuracy"] > 0.8


def test_words_that_are_wrong_are_told_before_any_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    for model, said in [
        ("random_forest:no", "model 'random_forest:no': trees 'no' is not a number in 1..2000"),
        ("logistic:3", "model 'logistic:3' has 1 numbers: the form is logistic"),
        ("nowhere.onnx", "cannot read nowhere.onnx: "),
        (f"{tmp_path}/text.onnx", "model onnx:text-8f4a2c6b: the ONNX model is not ONNX, or truncated"),
        ("onnx:mine", "model 'onnx:mine' is none of this process: name its file, as heart.onnx"),
        ("estimator:mine", "model 'estimator:mine' is none of this process: pass it as model="),
        ("random_florest", "unknown model 'random_florest': did you mean random_forest?"),
    ]:
        line = fails(capsys, "run", "--models", model, "--clients", "2", "--student", "mlp:8", "--out", tmp_path / "x")
        assert line.split("-8f")[0].startswith(said.split("-8f")[0]), line
        assert not (tmp_path / "x").exists()


def test_methods_that_need_a_network_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "--models", "random_forest:5,mlp:8", "--student", "mlp:8"]
    for more, who in [
        (["--method", "dense"], "DENSE needs gradients with respect to samples"),
        (["--generator", "dcgan"], "generator dcgan needs gradients with respect to samples"),
        (["--set", "experts.kind=class_average"], "experts.kind = class_average averages weights"),
    ]:
        assert fails(capsys, *words, *more).startswith(who)
    line = fails(capsys, "run", "--models", "mlp:8", "--student", "random_forest")
    assert line == "model 'random_forest' is no network, which is needed here: take one, as cnn:16"


def test_a_simulation_has_trees_beside_networks(tmp_path: Path) -> None:
    """In two worker processes, and again from what it kept."""
    words = ["run", "--clients", "3", "--models", "mlp:16,random_forest:10,lightgbm:5", "--student", "mlp:16"]
    words += [*QUICK, "--set", "data.max_train=500", "--split", "iid", "--workers", "2"]
    mosaic(*words, "--out", "run", cwd=tmp_path)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["models"] == ["mlp:16", "random_forest:10", "lightgbm:5"]
    assert min(result["local_accuracy"][1:]) > 0.7
    mosaic(*words[:-2], "--workers", "1", "--out", "again", cwd=tmp_path)
    again = json.loads((tmp_path / "again" / "result.json").read_text())
    assert again["accuracy"] == result["accuracy"]
