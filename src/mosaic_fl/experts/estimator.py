"""The kinds of experts that other libraries fit at a site: forests, boosted trees, a user's own estimator.

What leaves the site is an ONNX model, an expert of the kind `onnx`. No estimator is ever received.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mosaic_fl.config import TrainConfig
from mosaic_fl.config.model_names import ESTIMATOR_FORMS, estimator_numbers, require_packages
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import MosaicError, UsageError, excerpt, in_one_line
from mosaic_fl.experts.conversion import constant, require_agreement, to_onnx
from mosaic_fl.experts.kind import ExpertKind
from mosaic_fl.experts.onnx.expert import NAME, OnnxExpert, state_of, tell_inputs
from mosaic_fl.experts.onnx.layout import Layout, shapes_of
from mosaic_fl.experts.own_columns import require_columns, require_other_names, tell_if_useless
from mosaic_fl.experts.training import score
from mosaic_fl.models.own import own_model
from mosaic_fl.notes import note
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State
from mosaic_fl.training.monitor import Monitor

OWN = "estimator:"  # begins the names of estimators that a user gives


@dataclass
class Estimator:
    """An estimator of a site: `expert` is its ONNX model once it is fitted. `own` is a user's estimator, or None."""

    name: str
    schema: Schema
    own: Any = None
    expert: OnnxExpert | None = None

    def log_probabilities(self, samples: Samples, device: torch.device | str = "cpu") -> Tensor:
        """Those of its ONNX model: see `OnnxExpert`."""
        assert self.expert is not None, "it is not fitted"
        return self.expert.log_probabilities(samples, device)


def make(name: str, schema: Schema) -> Estimator:
    """An estimator that is not fitted yet; raises UsageError where there is none of that name."""
    check(name, schema)
    own = own_model(name)
    if name.startswith(OWN) and own is None:
        raise UsageError(f"model {excerpt(name)} is none of this process: pass it as model=")
    require_packages(name)
    return Estimator(name, schema, own)


def fit(
    expert: Estimator,
    train: Dataset,
    validation: Dataset,
    config: TrainConfig,
    stream: Stream,
    device: torch.device,
    monitor: Monitor,
) -> dict[str, float]:
    """Fit the estimator to the values that a network would take, in float32, and convert it; a fitted one is converted.

    A site with one class gets a model that is sure of it. Raises MosaicError where the two do not answer alike.
    """
    source = f"model {expert.name}"
    ready = expert.own is not None and _is_fitted(expert.own)
    model, classes, layout = _taken(expert, source, train) if ready else _fitted(expert, source, train, stream)
    rows = layout.batch(train.samples)
    width = rows.shape[1]
    content = constant(width, classes[0]) if model is None else to_onnx(model, width, classes, rest=layout.rest)
    expert.expert = OnnxExpert(content, expert.schema, source)
    if model is not None:
        require_agreement(model, rows, expert.expert.outputs(train.samples))
    if ready:
        tell_if_useless(source, expert, train)
    monitor.progress(1, 1)
    return score(expert, validation, device)


Fitted = tuple[Any, Sequence[str], Layout]
"""A fitted estimator (None: it is sure of its one class), the names of its classes, and how it takes samples."""


def _taken(expert: Estimator, source: str, train: Dataset) -> Fitted:
    """The user's estimator as it is; raises UsageError where it does not fit the samples."""
    classes = _classes_of(expert.own, expert.schema)
    layout = _layout_of(expert.own, source, train, classes)
    note(f"{source} is fitted already: its figures on the validation split count if it has not learnt from it")
    return expert.own, classes, layout


def _fitted(expert: Estimator, source: str, train: Dataset, stream: Stream) -> Fitted:
    """A new estimator, fitted to encoded values and labels 0..k−1; raises MosaicError where it fails."""
    labels = train.labels.numpy()
    held = np.unique(labels)
    classes = [expert.schema.classes[label] for label in held.tolist()]
    layout = Layout(rest=False, form="flat")
    if len(held) == 1:
        return None, classes, layout
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of convergence
            model = _new(expert, stream.integer() % 2**31)
            model.fit(layout.batch(train.samples), np.searchsorted(held, labels))
    except Exception as error:  # somebody else's estimator may raise anything
        raise MosaicError(f"{source} cannot be fitted: {in_one_line(error)}") from error
    return model, classes, layout


def _new(expert: Estimator, seed: int) -> Any:
    """A new estimator of the expert's name, not fitted, for one thread."""
    if expert.own is not None:
        from sklearn.base import clone

        return _with_seed(clone(expert.own), seed)
    head = expert.name.split(":")[0]
    numbers = estimator_numbers(expert.name)
    match head, numbers:
        case "random_forest", [trees]:
            from sklearn.ensemble import RandomForestClassifier

            return RandomForestClassifier(trees, random_state=seed, n_jobs=1)
        case "xgboost", [trees]:
            from xgboost import XGBClassifier

            return XGBClassifier(n_estimators=trees, random_state=seed, n_jobs=1, tree_method="hist")
        case "lightgbm", [trees]:
            from lightgbm import LGBMClassifier

            return LGBMClassifier(n_estimators=trees, random_state=seed, n_jobs=1, verbose=-1)
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000)


def _with_seed(model: Any, seed: int) -> Any:
    """The estimator, where each seed that is left open is one of its own from now on, and each number of threads 1."""
    free = [name for name, value in sorted(model.get_params(deep=True).items()) if value is None]
    seeds = [name for name in free if name.split("__")[-1] == "random_state"]
    threads = [name for name in free if name.split("__")[-1] == "n_jobs"]
    numbers = {name: (seed + place) % 2**31 for place, name in enumerate(seeds)}
    return model.set_params(**numbers, **dict.fromkeys(threads, 1))


def _is_fitted(model: Any) -> bool:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(model)
    except (NotFittedError, TypeError):
        return False
    return hasattr(model, "classes_")


def _layout_of(model: Any, source: str, train: Dataset, classes: Sequence[str]) -> Layout:
    """How a fitted estimator takes samples, from its number of features; raises UsageError where it takes others.

    Where encoded values are as many as those at rest, it is given those with which it is more often right.
    """
    named = require_columns(model, train.schema)
    features = int(getattr(model, "n_features_in_", -1))
    widths = {rest: sum(map(prod, shapes_of(train.schema, rest=rest))) for rest in (False, True)}
    layouts = [Layout(rest, "flat") for rest, width in widths.items() if features == width]
    if not layouts:
        raise UsageError(
            f"{type(model).__name__} is fitted to {features} features, and these samples have {widths[False]} as "
            f"networks take them, {widths[True]} at rest"
        )
    if named:  # by the schema's columns, so it means the values themselves
        layouts = [layout for layout in layouts if layout.rest]
    elif len(layouts) == 1 and layouts[0].rest:
        require_other_names(model, train.schema)
    if len(layouts) == 1:
        return layouts[0]
    labels = np.array([train.schema.classes.index(name) for name in classes])
    right = [_share_right(model, layout.batch(train.samples), labels, train.labels.numpy()) for layout in layouts]
    tell_inputs(source, ["rest" if layout.rest else "network" for layout in layouts], right)
    return layouts[right.index(max(right))]


def _share_right(model: Any, rows: Any, labels: Any, truth: Any) -> float:
    """The share in 0..1 of `rows` whose class, by its label in the schema, is the true one; 0 where it fails."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of columns without names
            answers = labels[np.searchsorted(model.classes_, model.predict(rows))]
    except ValueError:  # of a missing value, say
        return 0.0
    return float((answers == truth).mean())


def _classes_of(model: Any, schema: Schema) -> Sequence[str]:
    """The names of the classes of a fitted estimator, which has them as names, or as labels 0..C−1."""
    classes = list(np.asarray(model.classes_).tolist())
    names = [str(label) for label in classes]
    if set(names) <= set(schema.classes):
        return names
    whole = [int(label) for label in classes if not isinstance(label, str) and float(label).is_integer()]
    if len(whole) == len(classes) and all(0 <= label < schema.num_classes for label in whole):
        return [schema.classes[label] for label in whole]
    raise UsageError(
        f"{type(model).__name__} is fitted to the classes {excerpt(classes, 80)}: they are no names of these classes "
        f"and no labels in 0..{schema.num_classes - 1}"
    )


def sent(name: str) -> str:
    """The name under which an estimator's ONNX model travels: `onnx:random_forest:50`."""
    return f"onnx:{name.removeprefix(OWN)}"


def state(expert: Any) -> State:
    """The state of the ONNX model of an `Estimator`, or of an `OnnxExpert` that was one."""
    model: Any = expert.expert if isinstance(expert, Estimator) else expert
    return state_of(model.content)


def load(name: str, schema: Schema, state: State, source: str) -> OnnxExpert:
    """Refuse: an estimator travels as ONNX."""
    raise UsageError(f"{source}: {excerpt(name)} is fitted at a site, and is sent as {excerpt(sent(name))} alone")


def check(name: str, schema: Schema) -> None:
    """Raise UsageError for a name of another form, numbers out of bounds, or an estimator that is no classifier."""
    if name.split(":")[0] in ESTIMATOR_FORMS:
        estimator_numbers(name)
    elif not (name.startswith(OWN) and NAME.fullmatch(sent(name))):
        raise UsageError(f"model {excerpt(name)}: an estimator of your own is passed as model=, in Python")
    elif other := _other_kind(own_model(name)):
        raise UsageError(f"model {excerpt(name)} is {other}: take a classifier")


def _other_kind(model: Any) -> str:
    """What an estimator is that says it is no classifier; empty for others."""
    if model is None:
        return ""
    try:
        from sklearn.base import is_clusterer, is_outlier_detector, is_regressor

        kinds = {"a regressor": is_regressor, "a clusterer": is_clusterer, "an outlier detector": is_outlier_detector}
        return next((name for name, holds in kinds.items() if holds(model)), "")
    except Exception:  # somebody else's class says nothing of its kind: conversion tries it
        return ""


ESTIMATOR = ExpertKind(make=make, fit=fit, state=state, load=load, check=check, sent=sent)
