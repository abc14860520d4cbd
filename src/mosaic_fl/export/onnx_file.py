"""`model.onnx`: the model in ONNX, with its classes among its properties."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from mosaic_fl.experts.onnx.bounds import CLASSES
from mosaic_fl.export.served import Served
from mosaic_fl.export.trial import Run
from mosaic_fl.extras import require

FILE = "model.onnx"
OPSET = 18
BATCH = "n"


def onnx_files(served: Served, example: tuple[Tensor, ...]) -> tuple[dict[str, bytes], Run]:
    """The files by name, and how they run, by onnxruntime; raises UsageError where the packages are missing."""
    require("--to onnx", "onnx", "onnxruntime")
    import onnx

    names = [given.name for given in served.inputs]
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        place = Path(folder, FILE)
        warnings.simplefilter("ignore")
        torch.onnx.export(
            served,
            example,
            place,
            dynamo=False,
            input_names=names,
            output_names=served.outputs,
            dynamic_axes={name: {0: BATCH} for name in [*names, *served.outputs]},
            opset_version=OPSET,
        )
        model = onnx.load(place)
    onnx.helper.set_model_props(model, {CLASSES: json.dumps(list(served.schema.classes))})
    onnx.checker.check_model(model)
    packed = model.SerializeToString()
    return {FILE: packed}, _running(packed, names, served.outputs)


def _running(content: bytes, names: list[str], outputs: list[str]) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(values: tuple[Tensor, ...]) -> Mapping[str, Tensor]:
        given = {name: tensor.numpy() for name, tensor in zip(names, values, strict=True)}
        answers = session.run(outputs, given)
        return {name: torch.from_numpy(answer) for name, answer in zip(outputs, answers, strict=True)}

    return run
