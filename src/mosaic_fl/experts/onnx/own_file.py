"""Changes to an ONNX model of this machine before it leaves. A received model is never opened so: see `worker`."""

import json
from collections.abc import Callable
from typing import Any

from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.experts.onnx.bounds import CLASSES, PROPERTIES

ZIPMAP = "ZipMap"
FREE_TEXT = ("doc_string", "metadata_props", "denotation")
"""Fields of any part of a model that no operator reads: notes, paths, stack traces."""


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


def without_extras(content: bytes) -> bytes:
    """The bytes of the model after `strip`. What cannot be read is left as it is, as in `without_dictionaries`."""
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    try:
        model = ModelProto.FromString(content)
    except DecodeError:
        return content
    strip(model)
    changed: bytes = model.SerializeToString()
    return changed


def strip(model: Any) -> None:
    """Leave of a ModelProto what its answers need: operators, weights and our properties.

    What a site never meant to send goes: notes, names of its tools and nodes, and constants, operators and outputs that
    nothing reads, among which may be samples.
    """
    properties = [(p.key, p.value) for p in model.metadata_props if p.key in PROPERTIES]
    model.DiscardUnknownFields()
    _strip_outputs(model.graph)
    _strip_unread(model.graph)
    _strip_text(model)
    for field in ("producer_name", "producer_version", "domain", "model_version"):
        model.ClearField(field)
    for node in model.graph.node:
        node.ClearField("name")
        for attribute in node.attribute:
            for tensor in (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors):
                tensor.ClearField("name")
    model.graph.name = "expert"
    for key, value in properties:
        _set(model, key, value)


def _strip_outputs(graph: Any) -> None:
    """Leave the one output that is read; where none can be chosen, the check of the model says why."""
    from mosaic_fl.experts.onnx.inspection import output_of

    try:
        name = output_of(graph).name
    except UsageError:
        return
    _keep(graph.output, lambda output: output.name == name)


def _strip_unread(graph: Any) -> None:
    """Leave the operators and constants of which the outputs are made, and the inputs that are no constants."""
    makers = {name: node for node in graph.node for name in node.output}
    read = set[str]()
    names = [output.name for output in graph.output]
    while names:
        name = names.pop()
        if name not in read:
            read.add(name)
            names += _read_by(makers[name]) if name in makers else []
    constants = {tensor.name for tensor in graph.initializer}
    _keep(graph.node, lambda node: not read.isdisjoint(node.output))
    _keep(graph.initializer, lambda tensor: tensor.name in read)
    _keep(graph.sparse_initializer, lambda tensor: tensor.values.name in read)
    _keep(graph.input, lambda port: port.name in read or port.name not in constants)
    del graph.value_info[:]
    del graph.quantization_annotation[:]


def _read_by(node: Any) -> list[str]:
    """The names of the values that an operator reads, also in graphs within it."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            names += [output.name for output in graph.output]
            names += [name for inner in graph.node for name in _read_by(inner)]
    return names


def _strip_text(message: Any) -> None:
    from google.protobuf.message import Message

    for field, value in message.ListFields():
        if field.name in FREE_TEXT:
            message.ClearField(field.name)
        elif field.message_type is not None:
            for part in [value] if isinstance(value, Message) else value:
                _strip_text(part)


def _keep(parts: Any, is_needed: Callable[[Any], bool]) -> None:
    """Leave those of a repeated field that are needed."""
    needed = [part for part in parts if is_needed(part)]
    if len(needed) < len(parts):
        del parts[:]
        parts.extend(needed)


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
