"""A user's own estimator: its seed, and what is no classifier that can be sent."""

from typing import Any

import pytest
import torch

pytest.importorskip("onnxruntime", reason="mosaic-fl[trees] is not installed")
pytest.importorskip("skl2onnx", reason="mosaic-fl[trees] is not installed")
pytest.importorskip("xgboost", reason="mosaic-fl[trees] is not installed")
from sklearn.ensemble import (
    ExtraTreesClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import mosaic_fl
from mosaic_fl.domains.dataset import Dataset
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
