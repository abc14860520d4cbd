"""ONNX models by hand: for samples of 64 values and three classes unless said otherwise."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor

from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.experts.onnx.expert import OnnxExpert

WIDTH = 64
CLASSES = 3


def node(operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> NodeProto:
    return helper.make_node(operator, list(inputs), list(outputs), **attributes)


def constant(name: str, values: Any, type: Any = np.float32) -> TensorProto:
    return numpy_helper.from_array(np.asarray(values, type), name)


def port(name: str, shape: Sequence[Any] | None, type: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, type, shape)


LOOP_TAKES = [port("i", [], TensorProto.INT64), port("c", [], TensorProto.BOOL), port("a", [None, CLASSES])]


def graph(
    nodes: Sequence[NodeProto],
    constants: Sequence[TensorProto] = (),
    takes: Sequence[Any] = (None, WIDTH),
    gives: Sequence[Any] | None = (None, CLASSES),
    type: int = TensorProto.FLOAT,
) -> GraphProto:
    """From "x" to "y"."""
    return helper.make_graph(list(nodes), "g", [port("x", takes)], [port("y", gives, type)], list(constants))


def model(
    graph: GraphProto, opsets: Sequence[tuple[str, int]] = (("", 18), ("ai.onnx.ml", 3)), **properties: str
) -> ModelProto:
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid(*opset) for opset in opsets], ir_version=9)
    for key, value in properties.items():
        made.metadata_props.add(key=f"mosaic.{key}", value=value)
    return made


def linear(weights: Any = None, ending: str = "Identity", **more: Any) -> ModelProto:
    """ending(x · weights), weights (64, 3): zeros unless given."""
    values = np.zeros((WIDTH, CLASSES)) if weights is None else weights
    nodes = [node("MatMul", ["x", "w"], ["s"]), node(ending, ["s"], ["y"])]
    return model(graph(nodes, [constant("w", values)]), **more)


def after_linear(nodes: Sequence[NodeProto], constants: Sequence[TensorProto] = (), **more: Any) -> ModelProto:
    """The linear model of zeros gives "s", and the nodes make "y" of it and of "x"."""
    first = node("MatMul", ["x", "w"], ["s"])
    return model(graph([first, *nodes], [constant("w", np.zeros((WIDTH, CLASSES))), *constants], **more))


def external(place: str) -> ModelProto:
    """Its weights are in another file."""
    made = linear()
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=place)
    return made


def inner(operator: str) -> ModelProto:
    """With a graph within an operator: a loop of 10¹² steps, a choice, a scan."""
    nodes = [node("Identity", ["s" if operator == "If" else "a"], ["b"])]
    takes = {"If": [], "Scan": [port("a", [CLASSES])], "Loop": LOOP_TAKES}[operator]
    gives = [port("b", None)]
    if operator == "Loop":
        nodes.append(node("Identity", ["c"], ["d"]))
        gives.insert(0, port("d", [], TensorProto.BOOL))
    part = helper.make_graph(nodes, "inner", takes, gives)
    ends = {
        "Loop": node("Loop", ["n", "yes", "s"], ["y"], body=part),
        "Scan": node("Scan", ["s"], ["y"], body=part, num_scan_inputs=1),
        "If": node("If", ["yes"], ["y"], then_branch=part, else_branch=part),
    }
    return after_linear([ends[operator]], [constant("n", 10**12, np.int64), constant("yes", True, np.bool_)])


def with_function(*, named: bool) -> ModelProto:
    """A function of its own, which its last operator calls where it is `named` there."""
    made = linear()
    opset = [helper.make_opsetid("", 18)]
    made.functions.append(helper.make_function("own", "Twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])], opset))
    if named:
        made.graph.node[1].op_type = "Twice"
        made.graph.node[1].domain = "own"
        made.opset_import.append(helper.make_opsetid("own", 1))
    return made


def doubling(times: int, axis: int) -> ModelProto:
    """2 kB that ask for 2^times times the scores: these are put behind themselves again and again."""
    nodes = [node("Concat", [f"c{i}", f"c{i}"], [f"c{i + 1}"], axis=axis) for i in range(times)]
    nodes[0].input[:] = ["s", "s"]
    end = [node("ReduceMax", [f"c{times}"], ["t"], keepdims=0), node("Add", ["s", "t"], ["y"])]
    return after_linear([*nodes, *end])


def filled(operator: str, *, hidden: bool) -> ModelProto:
    """40 GB of one value, from a shape of two numbers; `hidden`: numbers that depend on the samples."""
    constants = [constant("shape", [100_000, 100_000], np.int64), constant("zero", 0.0)]
    size = "shape"
    nodes = [node("ReduceMax", ["x"], ["m"], keepdims=0)]
    if hidden:
        size = "computed"
        nodes += [
            node("Mul", ["m", "zero"], ["nothing"]),
            node("Cast", ["nothing"], ["whole"], to=TensorProto.INT64),
            node("Add", ["shape", "whole"], ["computed"]),
        ]
    fill = (
        node("ConstantOfShape", [size], ["k"]) if operator == "ConstantOfShape" else node(operator, ["m", size], ["k"])
    )
    end = [node("ReduceMax", ["k"], ["t"], keepdims=0), node("Add", ["s", "t"], ["y"])]
    return after_linear([*nodes, fill, *end], constants)


def slow(times: int) -> ModelProto:
    """`times` products of matrices of 2000 × 2000, a third of a second each, which are made of the samples."""
    nodes = [node("ReduceMax", ["x"], ["r"], keepdims=0), node("Expand", ["r", "sides"], ["g0"])]
    nodes += [node("MatMul", ["g0", f"g{i}"], [f"g{i + 1}"]) for i in range(times)]
    end = [node("ReduceMax", [f"g{times}"], ["t"], keepdims=0), node("Add", ["s", "t"], ["y"])]
    return after_linear([*nodes, *end], [constant("sides", [2000, 2000], np.int64)])


def circular_tree() -> ModelProto:
    """A tree whose second node is its own child."""
    tree = node(
        "TreeEnsembleRegressor",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        n_targets=CLASSES,
        nodes_treeids=[0, 0, 0],
        nodes_nodeids=[0, 1, 2],
        nodes_featureids=[0, 0, 0],
        nodes_values=[1e9, 1e9, 0.0],
        nodes_modes=["BRANCH_LEQ", "BRANCH_LEQ", "LEAF"],
        nodes_truenodeids=[1, 1, 0],
        nodes_falsenodeids=[2, 1, 0],
        target_treeids=[0],
        target_nodeids=[2],
        target_ids=[0],
        target_weights=[1.0],
    )
    return model(graph([tree]))


def expert(made: ModelProto, schema: Schema) -> OnnxExpert:
    return OnnxExpert(made.SerializeToString(), schema, "it")


def samples(schema: Schema, n: int = 5) -> Samples:
    rng = torch.Generator().manual_seed(1)
    values = torch.randint(0, 256, (n, *schema.shape), dtype=torch.uint8, generator=rng)
    return Samples(schema.fields, {"image": values})


def rows(schema: Schema, n: int = 5) -> Tensor:
    """The same samples as a network takes them, flat."""
    inputs = samples(schema, n).inputs()
    assert isinstance(inputs, Tensor)
    return inputs.flatten(1)


def weights() -> Any:
    return np.random.default_rng(2).normal(size=(64, 3)).astype(np.float32) / 4


def close(left: Tensor, right: Tensor, most: float = 1e-5) -> bool:
    return float((left - right).abs().max()) < most
