"""Of a site's own ONNX model nothing leaves but what its answers need."""

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("onnxruntime", reason="mosaic-fl[trees] is not installed")
pytest.importorskip("onnx", reason="mosaic-fl[trees] is not installed")
from onnx import ModelProto, TensorProto

import mosaic_fl
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.experts.onnx.own_file import without_extras
from onnx_models import constant, graph, inner, model, node, port

SECRETS = [
    "ward_7", "alice", "stack_trace", "training_rows", "row_copies", "node_note", "graph_note", "model_note",
    "tensor_note", "input_note", "SECRET_TOOL", "secret_version", "secret.domain", "secret_graph", "secret_node",
    "secret_tensor", "secret_output", "mosaic.author", "value_note",
]  # fmt: skip
ROWS = np.full((300, 4), 1234.5, np.float32)


def own_model(classes: int = 10) -> ModelProto:
    """A linear model as a careless export leaves it."""
    weights = np.random.default_rng(2).normal(size=(64, classes)).astype(np.float32)
    scale = node("Constant", [], ["scale"], value=constant("secret_tensor", 2.0))
    first = node("MatMul", ["x", "w"], ["s"])
    nodes = [scale, first, node("Mul", ["s", "scale"], ["y"]), node("Identity", ["training_rows"], ["row_copies"])]
    nodes.append(node("ArgMax", ["s"], ["secret_output"], axis=1))
    made = model(graph(nodes, [constant("w", weights), constant("training_rows", ROWS)], gives=(None, classes)))
    body = made.graph
    body.output.append(port("secret_output", [None, 1], TensorProto.INT64))
    body.value_info.append(port("s", [None, classes]))
    body.value_info[0].doc_string = "value_note"
    body.name = "secret_graph"
    parts = {"node_note": body.node[1], "graph_note": body, "model_note": made, "input_note": body.input[0]}
    for text, part in (parts | {"tensor_note": body.initializer[0]}).items():
        part.doc_string = text
        if hasattr(part, "metadata_props"):
            part.metadata_props.add(key="pkg.torch.onnx.stack_trace", value="File ward_7/train.py")
    body.node[1].name = "secret_node"
    body.input[0].type.denotation = "alice"
    made.metadata_props.add(key="author", value="alice")
    made.metadata_props.add(key="mosaic.author", value="alice")
    made.metadata_props.add(key="mosaic.outputs", value="logits")
    made.metadata_props.add(key="mosaic.inputs", value="network")
    made.producer_name = "SECRET_TOOL"
    made.producer_version = "secret_version"
    made.domain = "secret.domain"
    return made


def test_what_answers_do_not_need_stays_at_the_site(digits: Dataset, tmp_path: Path) -> None:
    content = own_model().SerializeToString()
    secrets = [*(text.encode() for text in SECRETS), ROWS.tobytes()[:64]]
    assert all(secret in content for secret in secrets)
    (tmp_path / "heart.onnx").write_bytes(content)
    no_generator = {"generator.family": "none"}
    made = mosaic_fl.contribute(digits, model=str(tmp_path / "heart.onnx"), client=0, settings=no_generator)
    sent = made.to_bytes()
    assert [secret for secret in secrets if secret in sent] == []
    rows = digits.samples.inputs().flatten(1)  # type: ignore[union-attr]
    weights = np.frombuffer(own_model().graph.initializer[0].raw_data, np.float32).reshape(64, 10)
    answers = Contribution.from_bytes(sent).build_expert().log_probabilities(digits.samples)
    assert torch.allclose(answers, (2 * rows @ torch.from_numpy(weights.copy())).log_softmax(1), atol=1e-4)


def test_weights_properties_and_outputs_that_are_read_are_left() -> None:
    left = ModelProto.FromString(without_extras(own_model().SerializeToString()))
    assert [part.op_type for part in left.graph.node] == ["Constant", "MatMul", "Mul"]
    assert [part.name for part in left.graph.initializer] == ["w"]
    assert [part.name for part in left.graph.output] == ["y"]
    assert {p.key: p.value for p in left.metadata_props} == {"mosaic.outputs": "logits", "mosaic.inputs": "network"}
    again = without_extras(left.SerializeToString())
    assert again == left.SerializeToString()


@pytest.mark.parametrize("operator", ["If", "Loop", "Scan"])
def test_what_a_graph_within_an_operator_reads_is_left(operator: str) -> None:
    """Such a model is refused, for that and for no other reason."""
    left = ModelProto.FromString(without_extras(inner(operator).SerializeToString()))
    assert [part.op_type for part in left.graph.node] == ["MatMul", operator]


def test_what_is_no_model_is_left_to_the_check() -> None:
    assert without_extras(b"no model") == b"no model"
