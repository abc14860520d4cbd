"""`MosaicClassifier`: a global model as an estimator of scikit-learn."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from mosaic_fl.api import contribute, distill
from mosaic_fl.data.arrays import from_arrays
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.global_model import GlobalModel

OF_ROWS = ("mean_", "scale_", "n_features_in_", "feature_names_in_")  # attributes
LONGEST = np.float64(np.finfo(np.float32).max)
Array = npt.NDArray[Any]


class MosaicClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A global model with `predict`, `predict_proba` and `score`.

    `fit(contributions)` distils what sites have sent. `fit(X, y)` learns from one site's rows (n, d) alone: they are
    scaled to mean 0 and variance 1, contributed and distilled in this process. `model` is that site's, `student` the
    global model's architecture, `generator` the site's; `settings` are those of `mosaic config`, and go before these.
    `random_state` is the seed.

    After `fit`, `model_` is the `GlobalModel`, `classes_` the names of the classes, and of rows there are
    `n_features_in_`, `mean_` and `scale_`. Samples of contributions are as in `GlobalModel.predict`.
    """

    def __init__(
        self,
        model: str = "discriminant",
        student: str = "discriminant",
        generator: str = "exact_moments",
        settings: dict[str, Any] | None = None,
        random_state: int = 0,
    ) -> None:
        self.model = model
        self.student = student
        self.generator = generator
        self.settings = settings
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> "MosaicClassifier":
        """Distil contributions, or learn from rows X (n, d) with labels y (n,); returns itself.

        Raises ValueError for rows as scikit-learn's estimators do, UsageError for contributions that do not fit
        together.
        """
        if _are_contributions(X):
            if y is not None:
                raise UsageError("contributions have labels of their own: leave y out")
            self._forget_rows()
            student = "" if self.student == "discriminant" and not X[0].schema.of_vectors else self.student
            return self._serve(distill(X, student=student, settings=self.settings, seed=self._seed()))
        rows, labels = validate_data(self, X, y)
        check_classification_targets(labels)
        classes, numbers = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"MosaicClassifier needs two classes at least, and y has one class: {classes[0]!r}")
        self.mean_ = rows.mean(0, dtype=np.float64)
        spread = rows.std(0, dtype=np.float64)
        self.scale_ = np.where(spread > 0, spread, 1.0)
        names = [str(place) for place in range(len(classes))]
        data = from_arrays(self._scaled(rows), numbers, names)
        settings = {"generator.family": self.generator, "generator.min_samples": 2, **(self.settings or {})}
        seed = self._seed()
        sent = contribute(data, model=self.model, client=0, settings=settings, seed=seed)
        self._serve(distill([sent], student=self.student, settings=settings, seed=seed))
        self.classes_ = classes
        return self

    @classmethod
    def load(cls, path: Path | str) -> "MosaicClassifier":
        """A fitted estimator of a global model's file, or of the one in a run's folder; nothing is unpickled."""
        return cls()._serve(GlobalModel.load(path))

    def predict(self, X: Any) -> Array:
        """The class of each sample, (n,)."""
        probabilities = self.predict_proba(X)
        answers: Array = self.classes_[probabilities.argmax(1)]
        return answers

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Probabilities (n, C) of the classes in the order of `classes_`."""
        check_is_fitted(self)
        if hasattr(self, "mean_"):
            X = self._scaled(validate_data(self, X, reset=False))
        assessment = self.model_.assess(X)
        probabilities: npt.NDArray[np.float64] = assessment.probabilities.numpy()
        return probabilities

    def strangeness(self, X: Any) -> npt.NDArray[np.float64]:
        """How unlike the sites' samples each is, (n,): above 1 it is strange. Raises UsageError where it is unknown."""
        check_is_fitted(self)
        if hasattr(self, "mean_"):
            X = self._scaled(validate_data(self, X, reset=False))
        strangeness = self.model_.assess(X).strangeness
        if strangeness is None:
            raise UsageError("the model's file does not say what is strange")
        answers: npt.NDArray[np.float64] = strangeness.numpy()
        return answers

    def _serve(self, model: GlobalModel) -> "MosaicClassifier":
        self.model_ = model
        self.classes_ = np.array(model.schema.classes)
        return self

    def _forget_rows(self) -> None:
        """Drop what an earlier `fit` has learnt of rows."""
        for name in OF_ROWS:
            self.__dict__.pop(name, None)

    def _scaled(self, rows: Array) -> npt.NDArray[np.float32]:
        scaled = np.clip((rows.astype(np.float64) - self.mean_) / self.scale_, -LONGEST, LONGEST)
        single: npt.NDArray[np.float32] = scaled.astype(np.float32)
        return single

    def _seed(self) -> int:
        return int(self.random_state or 0)


def _are_contributions(X: Any) -> bool:
    is_list = isinstance(X, Sequence) and not isinstance(X, str | bytes)
    return is_list and len(X) > 0 and all(isinstance(part, Contribution) for part in X)
