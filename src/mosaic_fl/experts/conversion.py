"""Estimators of scikit-learn, XGBoost and LightGBM as ONNX models, and whether both answer alike."""

import json
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mosaic_fl.errors import MosaicError, UsageError, excerpt, in_one_line
from mosaic_fl.experts.onnx.bounds import CLASSES, INPUTS, OUTPUTS
from mosaic_fl.experts.onnx.own_file import strip
from mosaic_fl.notes import note

NEAR = 1e-6  # the usual difference of probabilities: sums in float32
FAR = 1e-5  # beyond it a sample goes another way through a tree
INPUT = "samples"
SAMPLES = ("support_vectors_", "_fit_X", "X_train_", "X_fit_")
"""Attributes with which scikit-learn's estimators keep training samples."""


def to_onnx(estimator: Any, width: int, classes: Sequence[str], *, rest: bool) -> bytes:
    """The bytes of an ONNX model of a fitted `estimator` with `width` features, which answers for `classes` in order.

    `rest`: the features are values at rest, not encoded ones. Raises UsageError where it cannot be converted.
    """
    require_no_samples(estimator)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = _converted(estimator, width)
    except Exception as error:  # converters raise anything
        what = f"{type(estimator).__name__} cannot be converted to ONNX"
        if "feature names should follow pattern" in str(error):  # XGBoost's, of a data frame
            raise UsageError(
                f"{what}, where features have no names: fit it on numbers without names, as frame.to_numpy()"
            ) from error
        raise UsageError(f"{what} ({excerpt(in_one_line(error))}): give a FILE.onnx made by its own library") from error
    soft = hasattr(estimator, "predict_proba")
    outputs = [output for output in model.graph.output if (output.name != model.graph.output[0].name) == soft]
    del model.graph.output[:]
    model.graph.output.extend(outputs[:1])
    return _described(model, classes, "probabilities" if soft else "labels", rest=rest)


def require_no_samples(estimator: Any) -> None:
    """Raise UsageError for an estimator that is made of its training samples, which must not leave the site."""
    for part in _parts(estimator):
        if held := [name for name in SAMPLES if hasattr(part, name)]:
            raise UsageError(
                f"{type(part).__name__} holds training samples as they are ({held[0]}), which would leave this site: "
                "take another model"
            )


def _parts(estimator: Any, depth: int = 4) -> Iterator[Any]:
    """The estimator and those within it: the steps of a pipeline, the members of an ensemble."""
    yield estimator
    for value in vars(estimator).values() if depth and hasattr(estimator, "__dict__") else ():
        for part in value if isinstance(value, list | tuple) else [value]:
            inner = part[1] if isinstance(part, tuple) and len(part) > 1 else part
            if hasattr(inner, "fit"):
                yield from _parts(inner, depth - 1)


def constant(width: int, name: str) -> bytes:
    """An ONNX model that is sure of the class `name`, for a site with this class alone."""
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.zeros((width, 1), np.float32), "weights")
    one = numpy_helper.from_array(np.ones(1, np.float32), "one")
    graph = helper.make_graph(
        [helper.make_node("Gemm", [INPUT, "weights", "one"], ["probabilities"])],
        "constant",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 1])],
        [weights, one],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    return _described(model, [name], "probabilities", rest=False)


def require_agreement(estimator: Any, rows: Any, outputs: Any) -> None:
    """Raise MosaicError unless the model's `outputs` for `rows`, float32 (n, d), are those of the estimator.

    Probabilities may differ by 1e-6, since the model adds in float32; by up to 1e-5 with a note.
    """
    name = type(estimator).__name__
    if not hasattr(estimator, "predict_proba"):
        expected = np.asarray(estimator.predict(rows))
        if different := int((np.searchsorted(estimator.classes_, expected) != outputs.reshape(-1)).sum()):
            raise MosaicError(f"{name} and its ONNX model differ in {different} of {len(rows)} training samples")
        return
    differences = np.abs(np.asarray(estimator.predict_proba(rows)) - outputs)
    worst = float(differences.max(initial=0.0))
    if not worst <= FAR:
        count = int((~(differences.max(1) <= FAR)).sum())
        raise MosaicError(
            f"{name} and its ONNX model differ by up to {worst:.2g} in {count} of {len(rows)} training samples: ONNX "
            "compares in float32, so fit it on values of numpy.float32, and scale nothing before trees"
        )
    if worst > NEAR:
        note(
            f"{name} and its ONNX model, which computes in float32, differ by up to {worst:.1g} in their probabilities"
        )


def _converted(estimator: Any, width: int) -> Any:
    import skl2onnx
    from skl2onnx.common.data_types import FloatTensorType

    _register_boosting()
    options = {"zipmap": False} if hasattr(estimator, "predict_proba") else None
    types = [(INPUT, FloatTensorType([None, width]))]
    return skl2onnx.convert_sklearn(
        estimator, initial_types=types, options=options, target_opset={"": 18, "ai.onnx.ml": 3}
    )


def _register_boosting() -> None:
    """Let skl2onnx convert the boosted trees of other libraries, also within its pipelines."""
    from skl2onnx import update_registered_converter
    from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes

    options = {"nocl": [True, False], "zipmap": [True, False, "columns"]}
    if (xgboost := sys.modules.get("xgboost")) is not None:
        from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost

        update_registered_converter(
            xgboost.XGBClassifier,
            "XGBoostXGBClassifier",
            calculate_linear_classifier_output_shapes,
            convert_xgboost,
            options=options,
        )
    if (lightgbm := sys.modules.get("lightgbm")) is not None:
        from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm

        update_registered_converter(
            lightgbm.LGBMClassifier,
            "LightGbmLGBMClassifier",
            calculate_linear_classifier_output_shapes,
            convert_lightgbm,
            options=options | {"split": None},
        )


def _described(model: Any, classes: Sequence[str], outputs: str, *, rest: bool) -> bytes:
    """The model's bytes, with what its columns mean, and without what its library wrote of this machine."""
    properties = {CLASSES: json.dumps(list(classes)), INPUTS: "rest" if rest else "network", OUTPUTS: outputs}
    del model.metadata_props[:]
    for key, value in properties.items():
        model.metadata_props.add(key=key, value=value)
    strip(model)
    content: bytes = model.SerializeToString()
    return content
