"""A user's own estimator: its seed, and what is no classifier that can be sent."""

from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("onnxruntime", reason="mosaic-fl[trees] is not installed")
pytest.importorskip("skl2onnx", reason="mosaic-fl[trees] is not installed")
pytest.importorskip("xgboost", reason="mosaic-fl[trees] is not installed")
from sklearn.cluster import KMeans
from sklearn.ensemble import (
    ExtraTreesClassifier,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
)
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier, XGBRegressor

import mosaic_fl
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError
from mosaic_fl.experts.estimator import _with_seed


def sent(data: Dataset, model: Any, seed: int = 1) -> torch.Tensor:
    few = data.subset((data.labels < 3).nonzero().flatten()[:150])
    no_generator = {"generator.family": "none"}
    return mosaic_fl.contribute(few, model=model, client=0, seed=seed, settings=no_generator).expert["model"]


@pytest.mark.parametrize(
    "model",
    [RandomForestClassifier(5), make_pipeline(StandardScaler(with_std=False), ExtraTreesClassifier(5))],
    ids=["forest", "pipeline"],
)
def test_an_estimator_without_a_seed_has_that_of_the_run(digits: Dataset, model: Any) -> None:
    first = sent(digits, model)
    assert torch.equal(first, sent(digits, model))
    assert not torch.equal(first, sent(digits, model, seed=2))
    assert {value for name, value in model.get_params().items() if name.endswith("random_state")} == {None}


def test_what_a_user_has_set_is_left() -> None:
    members = [("a", RandomForestClassifier()), ("b", RandomForestClassifier(random_state=3, n_jobs=2))]
    numbers = _with_seed(VotingClassifier(members), 7).get_params()
    assert (numbers["b__random_state"], numbers["b__n_jobs"]) == (3, 2)
    assert (numbers["a__random_state"], numbers["a__n_jobs"], numbers["n_jobs"]) == (7, 1, 1)


def test_boosted_trees_of_named_columns_say_how_to_be_fitted(digits: Dataset) -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(digits.samples.inputs().flatten(1).numpy()).add_prefix("pixel_")  # type: ignore[union-attr]
    labels = np.minimum(digits.labels.numpy(), 1)
    model = XGBClassifier(n_estimators=2, n_jobs=1).fit(frame, labels)
    with pytest.raises(UsageError, match=r"XGBClassifier .*: fit it on numbers without names, as frame\.to_numpy\(\)$"):
        sent(digits, model)


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (RandomForestRegressor(2), "a regressor"),
        (make_pipeline(LinearRegression()), "a regressor"),
        (XGBRegressor(n_estimators=2), "a regressor"),
        (KMeans(2), "a clusterer"),
        (IsolationForest(n_estimators=2), "an outlier detector"),
    ],
)
def test_what_is_no_classifier_is_refused(digits: Dataset, model: Any, kind: str) -> None:
    with pytest.raises(
        UsageError, match=rf"model 'estimator:{type(model).__name__}#\d+' is {kind}: take a classifier$"
    ):
        sent(digits, model)


@pytest.mark.parametrize("model", [RandomForestClassifier, XGBClassifier])
def test_a_class_of_estimators_is_no_estimator(digits: Dataset, model: Any) -> None:
    with pytest.raises(UsageError, match=rf"{model.__name__}' is a class of estimators: write {model.__name__}\(\)$"):
        sent(digits, model)
