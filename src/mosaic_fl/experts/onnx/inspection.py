"""The checks of an ONNX model before it runs: an allow-list, not a search for what is known to be harmful.

It takes the package `onnx`, which parses the model; so it runs in the model's own process, within its limits.
"""

from collections.abc import Iterable, Iterator
from math import prod

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, ValueInfoProto

from mosaic_fl.errors import UsageError, excerpt
from mosaic_fl.experts.onnx.bounds import (
    CLASSICAL,
    IR_VERSIONS,
    MAX_INITIALISERS,
    MAX_NODES,
    MAX_RANK,
    MAX_TEXT,
    MAX_VALUES,
    OPERATORS,
    OPSETS,
    PROPERTIES,
)
from mosaic_fl.experts.onnx.facts import Facts, Port

ZIPMAP = "gives a dictionary a sample (ZipMap), not an array: export it with options={'zipmap': False}, or zipmap=False"
FLOATS = ("float32", "float64")
WHOLE = ("int64", "int32")
_TYPES: dict[int, str] = {
    TensorProto.FLOAT: "float32",
    TensorProto.DOUBLE: "float64",
    TensorProto.INT64: "int64",
    TensorProto.INT32: "int32",
    TensorProto.STRING: "text",
}
_GRAPHS = (AttributeProto.GRAPH, AttributeProto.GRAPHS)


def inspect(content: bytes) -> tuple[bytes, Facts]:
    """(the bytes of exactly what was checked, the model's facts); raises UsageError with the reason of a refusal."""
    try:
        model = ModelProto.FromString(content)
    except DecodeError as error:
        raise UsageError("is not ONNX, or truncated") from error
    model.DiscardUnknownFields()  # a reader of another version could make something of them
    if not model.graph.node:
        raise UsageError("is not ONNX, or truncated: it has no operators")
    _check_versions(model)
    _check_extent(model)
    _check_nodes(model.graph.node)
    _check_tensors(model)
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # the checker has many kinds of errors
        raise UsageError(f"is not valid: {_one_line(error)}") from error
    _check_shapes(model)
    properties = {p.key: p.value for p in model.metadata_props if p.key in PROPERTIES}
    facts = Facts(_input(model.graph), output_of(model.graph), properties)
    return model.SerializeToString(), facts


def _check_versions(model: ModelProto) -> None:
    _require_within("the IR version", model.ir_version, IR_VERSIONS)
    versions = dict[str, int]()
    for opset in model.opset_import:
        if opset.domain not in OPSETS:
            raise UsageError(f"needs operators of the domain {excerpt(opset.domain, 60)}, which are not run here")
        _require_within(f"the opset of {opset.domain or 'ai.onnx'}", opset.version, OPSETS[opset.domain])
        if versions.setdefault(opset.domain, opset.version) != opset.version:
            raise UsageError(
                f"has two opsets of {opset.domain or 'ai.onnx'}: {versions[opset.domain]}, {opset.version}"
            )


def _require_within(what: str, value: int, bounds: tuple[int, int]) -> None:
    least, greatest = bounds
    if not least <= value <= greatest:
        raise UsageError(f"has {what} {value}: {least}..{greatest} are read, so export it with one of these")


def _check_extent(model: ModelProto) -> None:
    graph = model.graph
    if model.functions:
        raise UsageError("has functions of its own, which are not run here: export it with its functions inlined")
    if model.training_info:
        raise UsageError("has steps of training: export it for inference")
    if len(graph.node) > MAX_NODES:
        raise UsageError(f"has {len(graph.node):,} operators: at most {MAX_NODES:,}")
    if len(graph.initializer) > MAX_INITIALISERS:
        raise UsageError(f"has {len(graph.initializer):,} constant tensors: at most {MAX_INITIALISERS:,}")
    if graph.sparse_initializer:
        raise UsageError("has sparse constants: export them dense")
    if sum(len(p.key) + len(p.value) for p in model.metadata_props) > MAX_TEXT:
        raise UsageError(f"has more than {MAX_TEXT:,} characters of properties")


def _check_nodes(nodes: Iterable[NodeProto]) -> None:
    for node in nodes:
        operators = OPERATORS.get(node.domain)
        if node.domain == CLASSICAL and node.op_type == "ZipMap":
            raise UsageError(ZIPMAP)
        if node.domain == CLASSICAL and node.op_type.startswith("SVM"):
            raise UsageError("has support vectors, which are samples of its training data: take another model")
        if operators is None:
            raise UsageError(
                f"has the operator {excerpt(node.op_type, 60)} of the domain {excerpt(node.domain, 60)}: only those of "
                f"ai.onnx and {CLASSICAL} run here"
            )
        if any(
            attribute.type in _GRAPHS or attribute.HasField("g") or attribute.graphs for attribute in node.attribute
        ):
            raise UsageError(f"has a graph within the operator {excerpt(node.op_type, 60)}: none may have one")
        if node.op_type not in operators:
            raise UsageError(f"has the operator {excerpt(node.op_type, 60)}, which is not run here")
        if any(attribute.ref_attr_name for attribute in node.attribute):
            raise UsageError(f"has an operator {node.op_type} that is part of a function")


def _check_tensors(model: ModelProto) -> None:
    for tensor in _tensors(model.graph):
        name = excerpt(tensor.name, 60)
        if tensor.external_data or tensor.data_location == TensorProto.EXTERNAL:
            raise UsageError(f"keeps the values of {name} in another file: save it in one file")
        if len(tensor.dims) > MAX_RANK or any(side < 0 for side in tensor.dims) or prod(tensor.dims) > 2 * MAX_VALUES:
            raise UsageError(
                f"has a constant {name} of the shape {excerpt(list(tensor.dims[:MAX_RANK]), 60)}: too large"
            )


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
                raise UsageError("has sparse constants: export them dense")


def _check_shapes(model: ModelProto) -> None:
    """Raise UsageError for a tensor that is known to be too large. Others are found by the limit on memory."""
    try:
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception as error:
        raise UsageError(f"is not valid: {_one_line(error)}") from error
    for value in (*graph.value_info, *graph.output, *graph.input):
        sides = [side.dim_value for side in value.type.tensor_type.shape.dim if side.HasField("dim_value")]
        if len(sides) > MAX_RANK or prod(sides) > MAX_VALUES:
            raise UsageError(f"computes {prod(sides):,} values in {excerpt(value.name, 60)}: at most {MAX_VALUES:,}")


def _input(graph: GraphProto) -> Port:
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [_port(value) for value in graph.input if value.name not in constants]
    if len(inputs) != 1:
        raise UsageError(f"takes {len(inputs)} inputs: it must take one, a sample's values")
    if inputs[0].type not in FLOATS:
        raise UsageError(f"takes values of type {inputs[0].type}: it must take float32 or float64")
    if not inputs[0].shape:
        raise UsageError("does not say the shape of its input: export it with one, of which the first size is free")
    return inputs[0]


def output_of(graph: GraphProto) -> Port:
    """The output with the classes' scores, or the one with labels where there are no scores.

    Raises UsageError where there is not one.
    """
    outputs = [_port(value) for value in graph.output]
    if any(output.type == "dictionary" for output in outputs):
        raise UsageError(ZIPMAP)
    scores = [output for output in outputs if output.type in FLOATS]
    labels = [output for output in outputs if output.type in WHOLE]
    if len(scores) > 1:
        scores = [output for output in scores if "prob" in output.name.lower()]
    for choices in (scores, labels):
        if len(choices) == 1:
            return choices[0]
    kinds = ", ".join(f"{excerpt(output.name, 40)}: {output.type}" for output in outputs[:6])
    raise UsageError(f"gives {kinds}: it must give one array of scores, (samples, classes), or of labels in int64")


def _port(value: ValueInfoProto) -> Port:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        return Port(value.name, "dictionary" if kind in ("sequence_type", "map_type") else str(kind), None)
    tensor: TypeProto.Tensor = value.type.tensor_type
    name = _TYPES.get(tensor.elem_type) or TensorProto.DataType.Name(tensor.elem_type).lower()
    if not tensor.HasField("shape"):
        return Port(value.name, name, None)
    sides = (side.dim_value if side.HasField("dim_value") else None for side in tensor.shape.dim)
    return Port(value.name, name, tuple(side or None for side in sides))


def _one_line(error: Exception) -> str:
    return excerpt(" ".join(str(error).split()))
