"""The estimator for scikit-learn: its conventions, contributions, and files."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

import mosaic_fl
from mosaic_fl import MosaicClassifier
from mosaic_fl.errors import UsageError
from vector_cases import clouds

QUICK = {"distill.pool": 300}
NOT_FOR_US = {"check_array_api_input"}
"""Checks that scikit-learn skips by itself: arrays of other libraries, where SCIPY_ARRAY_API is not set."""


def test_it_keeps_the_conventions_of_scikit_learn() -> None:
    results = check_estimator(MosaicClassifier(settings=QUICK), on_fail=None, on_skip=None)
    bad = {result["check_name"]: result["exception"] for result in results if result["status"] != "passed"}
    assert bad.keys() <= NOT_FOR_US, bad
    assert len(results) > 40


def test_contributions_are_distilled() -> None:
    data = clouds(300)
    sent = _sent()
    classifier = MosaicClassifier().fit(sent)
    assert classifier.classes_.tolist() == list(data.schema.classes)
    rows = data.samples.only.numpy()
    names = np.array(data.schema.classes)[data.labels.numpy()]
    assert classifier.score(rows, names) > 0.9
    assert classifier.predict_proba(rows).shape == (300, 3)
    assert classifier.model_.predict(rows).tolist() == [data.schema.classes.index(n) for n in classifier.predict(rows)]
    with pytest.raises(UsageError, match="leave y out"):
        MosaicClassifier().fit(sent, names)


def test_a_file_is_an_estimator_without_a_pickle(tmp_path: Path) -> None:
    classifier = MosaicClassifier().fit(_sent())
    classifier.model_.save(tmp_path / "model")
    rows = clouds(300).samples.only.numpy()
    loaded = MosaicClassifier.load(tmp_path / "model")
    assert (loaded.predict(rows) == classifier.predict(rows)).all()
    assert (loaded.predict_proba(rows) == classifier.predict_proba(rows)).all()
    assert (loaded.strangeness(rows) == classifier.strangeness(rows)).all()
    assert float((loaded.strangeness(100 + rows) > 1).mean()) == 1.0


def test_rows_of_any_scale_and_any_names() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 3)) * [1e-3, 1.0, 1e6] + [5.0, 0.0, -1e6]
    y = np.where(X[:, 2] > -1e6, "well", "ill")
    classifier = MosaicClassifier(settings=QUICK).fit(X, y)
    assert classifier.score(X, y) > 0.9
    assert classifier.classes_.tolist() == ["ill", "well"]
    assert (pickle.loads(pickle.dumps(classifier)).predict(X) == classifier.predict(X)).all()  # noqa: S301
    assert clone(classifier).get_params() == classifier.get_params()
    assert classifier.strangeness(X).shape == (120,)
    pipeline = make_pipeline(FunctionTransformer(), MosaicClassifier(settings=QUICK))
    assert cross_val_score(pipeline, X, y, cv=2).mean() > 0.85


def test_fitting_again_forgets_the_rows_before() -> None:
    rng = np.random.default_rng(0)
    X: Any = rng.normal(size=(60, 4))
    classifier = MosaicClassifier(settings=QUICK).fit(X, X[:, 0] > 0)
    assert classifier.n_features_in_ == 4
    classifier.fit(_sent())
    assert not hasattr(classifier, "mean_")
    assert not hasattr(classifier, "n_features_in_")


def _sent() -> list[mosaic_fl.Contribution]:
    data = clouds(300)
    return [
        mosaic_fl.contribute(
            data.subset(torch.arange(start, 300, 2)), model="discriminant", client=start,
            settings={"generator.family": "moments", "distill.pool": 300},
        )
        for start in (0, 1)
    ]  # fmt: skip
