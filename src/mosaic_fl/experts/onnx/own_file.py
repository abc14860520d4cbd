"""Changes to an ONNX model of this machine before it leaves. A received model is never opened so: see `worker`."""

import json
from typing import Any

from mosaic_fl.domains.schema import Schema
from mosaic_fl.experts.onnx.bounds import CLASSES

ZIPMAP = "ZipMap"


def with_property(content: bytes, key: str, value: str) -> bytes:
    """The bytes of the model with the property, in place of an earlier value."""
    from onnx import ModelProto

    model = ModelProto.FromString(content)
    _set(model, key, value)
    changed: bytes = model.SerializeToString()
    return changed


def without_dictionaries(content: bytes, schema: Schema) -> bytes:
    """The model whose last step does not make a dictionary of each sample's probabilities, with the classes' names.

    Converters of scikit-learn do so unless they are told not to, CatBoost's always. What cannot be read is left as it
    is: the check of the model says why.
    """
    from google.protobuf.message import DecodeError
    from onnx import ModelProto, TensorProto, helper

    try:
        model = ModelProto.FromString(content)
    except DecodeError:
        return content
    maps = [node for node in model.graph.node if node.op_type == ZIPMAP and len(node.input) == len(node.output) == 1]
    if len(maps) != 1:
        return content
    names = _names(maps[0], schema)
    outputs = [output for output in model.graph.output if output.name != maps[0].output[0]]
    outputs.append(helper.make_tensor_value_info(maps[0].input[0], TensorProto.FLOAT, [None, None]))
    model.graph.node.remove(maps[0])
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    if names and not any(p.key == CLASSES for p in model.metadata_props):
        _set(model, CLASSES, json.dumps(names))
    changed: bytes = model.SerializeToString()
    return changed


def _names(node: Any, schema: Schema) -> list[str]:
    """The classes of a dictionary's entries, which are names, or labels 0..C−1; empty where they are neither."""
    values = {attribute.name: attribute for attribute in node.attribute}
    texts = values.get("classlabels_strings")
    if texts is not None:
        return [name.decode("utf-8", "replace") for name in texts.strings]
    numbers = values.get("classlabels_int64s")
    labels = list(numbers.ints) if numbers is not None else []
    names = [str(label) for label in labels]
    if set(names) <= set(schema.classes):
        return names
    return [schema.classes[label] for label in labels] if all(0 <= n < schema.num_classes for n in labels) else []


def _set(model: Any, key: str, value: str) -> None:
    others = [p for p in model.metadata_props if p.key != key]
    del model.metadata_props[:]
    model.metadata_props.extend(others)
    model.metadata_props.add(key=key, value=value)
