"""Hostile ONNX files: each is refused with its reason, within the limits of memory and time, and nothing else falls."""

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("onnxruntime", reason="mosaic-fl[trees] is not installed")
pytest.importorskip("onnx", reason="mosaic-fl[trees] is not installed")
from onnx import ModelProto, TensorProto, helper

import onnx_models as models
from command import QUICK, fails
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution, no_prototypes
from mosaic_fl.experts.onnx import bounds
from mosaic_fl.experts.onnx.expert import OnnxExpert, state_of
from onnx_models import after_linear, constant, graph, inner, linear, model, node, port

SECONDS = 2.0
PATIENCE = 20.0
CHILDREN = Path(f"/proc/self/task/{os.getpid()}/children")
MEMORY = 2**30
PROGRAMS = 2**28  # bytes, more than a process takes without a model


def to(**changes: object) -> ModelProto:
    """The linear model with other versions or properties of the file."""
    made = linear()
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def two_inputs() -> ModelProto:
    made = linear()
    made.graph.input.append(port("z", [None, 3]))
    return made


def many_constants() -> ModelProto:
    made = linear()
    made.graph.initializer.extend(constant(f"c{i}", 0.0) for i in range(bounds.MAX_INITIALISERS))
    return made


def claimed_size() -> ModelProto:
    made = linear()
    made.graph.initializer[0].dims[:] = [2**40, 2**20]
    return made


def no_shape() -> ModelProto:
    made = linear()
    made.graph.input[0].type.tensor_type.ClearField("shape")
    return made


def zipmap() -> ModelProto:
    made = after_linear([node("ZipMap", ["s"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2])])
    made.graph.output[0].CopyFrom(
        helper.make_value_info("y", helper.make_sequence_type_proto(helper.make_map_type_proto(
            TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
        )))
    )  # fmt: skip
    return made


def chain(length: int) -> ModelProto:
    nodes = [node("Relu", [f"a{i}"], [f"a{i + 1}"]) for i in range(length)]
    nodes[0].input[0] = "s"
    return after_linear([*nodes, node("Identity", [f"a{length}"], ["y"])])


def wide_input() -> ModelProto:
    nodes = [node("MatMul", ["x", "w"], ["y"])]
    return model(graph(nodes, [constant("w", np.zeros((65, 3)))], takes=(None, 65)))


def high_rank() -> ModelProto:
    nodes = [node("MatMul", ["x", "w"], ["y"])]
    return model(graph(nodes, [constant("w", np.zeros((5, 3)))], takes=(None, 7, 5), gives=(None, 7, 3)))


def text_labels() -> ModelProto:
    label = node("LabelEncoder", ["i"], ["y"], domain="ai.onnx.ml", keys_int64s=[0], values_strings=["a"])
    return after_linear(
        [node("ArgMax", ["s"], ["i"], axis=1, keepdims=0), label], gives=[None], type=TensorProto.STRING
    )


def support_vectors() -> ModelProto:
    return after_linear([node("SVMClassifier", ["x"], ["l", "y"], domain="ai.onnx.ml", classlabels_ints=[0, 1, 2])])


HOSTILE: dict[str, tuple[Callable[[], ModelProto], str]] = {
    "custom domain": (lambda: after_linear([node("Run", ["s"], ["y"], domain="evil")]), "'Run' of the domain 'evil'"),
    "custom opset": (lambda: linear(opsets=[("", 18), ("com.microsoft", 1)]), "domain 'com.microsoft'"),
    "random numbers": (lambda: after_linear([node("RandomNormalLike", ["s"], ["y"])]), "'RandomNormalLike'"),
    "values' own sizes": (lambda: after_linear([node("NonZero", ["s"], ["y"])]), "operator 'NonZero'"),
    "another file": (lambda: models.external("weights.bin"), "'w' in another file"),
    "a path out of the folder": (lambda: models.external("../../../etc/passwd"), "'w' in another file"),
    "unknown opset": (lambda: linear(opsets=[("", 999)]), "the opset of ai.onnx 999: 7..26 are read"),
    "two opsets": (lambda: linear(opsets=[("", 17), ("", 18)]), "two opsets of ai.onnx: 17, 18"),
    "unknown version": (lambda: to(ir_version=99), "the IR version 99: 3..13 are read"),
    "training samples": (support_vectors, "has support vectors, which are samples of its"),
    "loop": (lambda: inner("Loop"), "a graph within the operator 'Loop'"),
    "scan": (lambda: inner("Scan"), "a graph within the operator 'Scan'"),
    "if": (lambda: inner("If"), "a graph within the operator 'If'"),
    "function": (lambda: models.with_function(named=False), "has functions of its own"),
    "function of a domain": (lambda: models.with_function(named=True), "needs operators of the domain 'own'"),
    "gigabytes": (lambda: models.filled("ConstantOfShape", hidden=False), "computes 10,000,000,000 values in 'k'"),
    "expanded gigabytes": (lambda: models.filled("Expand", hidden=False), "computes 10,000,000,000 values in 'k'"),
    "hidden gigabytes": (lambda: models.filled("ConstantOfShape", hidden=True), "needs more memory than it may have"),
    "hidden expansion": (lambda: models.filled("Expand", hidden=True), "needs more memory than it may have"),
    "doubling": (lambda: models.doubling(60, axis=1), "computes 100,663,296 values in 'c25'"),
    "doubling samples": (lambda: models.doubling(60, axis=0), "needs more memory than it may have"),
    "claimed size": (claimed_size, "a constant 'w' of the shape"),
    "endless": (lambda: models.slow(3000), "takes more than 2 seconds"),
    "circular tree": (models.circular_tree, "cannot be made ready"),
    "too many operators": (lambda: chain(bounds.MAX_NODES), "20,002 operators: at most 20,000"),
    "too many constants": (many_constants, "20,001 constant tensors: at most 20,000"),
    "no operators": (lambda: model(graph([])), "is not ONNX, or truncated"),
    "unknown input": (lambda: after_linear([node("Add", ["s", "nowhere"], ["y"])]), "is not valid"),
    "two inputs": (two_inputs, "takes 2 inputs: it must take one"),
    "input without a shape": (no_shape, "is not valid: .*'shape'"),
    "wide input": (wide_input, r"of the shape \(n, 65\), and these samples are \(n, 64\) or \(n, 1, 8, 8\)"),
    "input of another rank": (high_rank, r"of the shape \(n, 7, 5\)"),
    "too many classes": (lambda: linear(np.zeros((64, 5))), r"gives outputs \(1, 5\) for 1 samples of 3 classes"),
    "unknown class": (lambda: linear(classes='["a", "b", "z"]'), "answers for the class 'z', which is none of these"),
    "class twice": (lambda: linear(classes='["a", "b", "a"]'), "names a class twice"),
    "no list of classes": (lambda: linear(classes="[" * 5000), "is a JSON list of names"),
    "NaN": (lambda: linear(np.full((64, 3), np.nan)), "gives non-finite outputs"),
    "infinite": (lambda: after_linear([node("Log", ["s"], ["y"])]), "gives non-finite outputs"),
    "rows of no sample": (lambda: after_linear([node("Concat", ["s", "s"], ["y"], axis=0)]), "not one row a sample"),
    "dictionaries": (zipmap, "zipmap=False"),
    "text": (text_labels, "gives 'y': text: it must give one array of scores"),
}  # fmt: skip
BYTES = {
    "a zero": b"\0",
    "text": b"import os\nos.system('true')\n",
    "pickle": b"\x80\x04\x95\x1b\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
    "zip": b"PK\x03\x04" + bytes(500),
    "noise": np.random.default_rng(0).bytes(5000),
    "truncated": linear().SerializeToString()[:-40],
    "deep": b"\x3a\x80\x80\x04" * 1000,
}


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "LIMITS", bounds.Limits(memory=MEMORY, start=SECONDS, call=SECONDS))


def contribution(content: bytes, schema: Schema) -> bytes:
    """The bytes of a contribution of client 7 whose expert has this model."""
    counts = torch.full((schema.num_classes,), 5)
    return Contribution(7, schema, "onnx:forest", state_of(content), counts, no_prototypes(), {}).to_bytes()


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_model_is_refused_with_its_reason(case: str, schema: Schema) -> None:
    make, reason = HOSTILE[case]
    content = contribution(make().SerializeToString(), schema)
    before = _largest_child()  # other tests have started processes, too
    start = time.monotonic()
    with pytest.raises(UsageError, match=f"^from 7: .*client 7: the ONNX model .*{reason}") as refusal:
        Contribution.from_bytes(content, "from 7")
    assert "\n" not in str(refusal.value)
    assert time.monotonic() - start < PATIENCE
    assert _largest_child() <= max(before, _largest_self(), (MEMORY + PROGRAMS) // 2**10)


def _largest_self() -> int:
    """KiB of this process at its largest: the kernel counts them for whatever it starts, up to the call of exec."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _largest_child() -> int:
    """KiB of the largest process that this one has started and that has ended."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


@pytest.mark.parametrize("case", BYTES)
def test_bytes_that_are_no_model_are_refused(case: str, schema: Schema) -> None:
    with pytest.raises(UsageError, match="not ONNX, or truncated|not the state of an ONNX model"):
        Contribution.from_bytes(contribution(BYTES[case], schema))


def test_a_state_of_another_form_is_refused(schema: Schema) -> None:
    content = state_of(linear().SerializeToString())["model"]
    for state in ({}, {"model": content.float()}, {"model": content[None]}, {"model": content, "more": content}):
        sent = Contribution(0, schema, "onnx:a", state, torch.ones(3, dtype=torch.int64), no_prototypes(), {})
        with pytest.raises(UsageError, match="not the state of an ONNX model"):
            Contribution.from_bytes(sent.to_bytes())


def test_a_received_name_fits_nothing_here(schema: Schema) -> None:
    """What is fitted at a site is never received under its name: nothing of another library would read it."""
    state = state_of(linear().SerializeToString())
    for name in ("random_forest", "xgboost:5", "estimator:LogisticRegression#1"):
        sent = Contribution(0, schema, name, state, torch.ones(3, dtype=torch.int64), no_prototypes(), {})
        with pytest.raises(UsageError, match="is fitted at a site, and is sent as 'onnx:"):
            Contribution.from_bytes(sent.to_bytes())


def test_a_server_refuses_one_contribution_and_reads_the_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], schema: Schema
) -> None:
    files = [tmp_path / "good.contribution", tmp_path / "evil.contribution"]
    for file, made in zip(files, (linear(), models.filled("Expand", hidden=True)), strict=True):
        file.write_bytes(contribution(made.SerializeToString(), schema))
    line = fails(capsys, "distill", *files, "--out", tmp_path / "global", *QUICK)
    assert line.startswith(f"{files[1]}: ")
    assert line.endswith("the ONNX model needs more memory than it may have")
    assert Contribution.load(files[0]).architecture == "onnx:forest"


@pytest.mark.skipif(not CHILDREN.exists(), reason="needs Linux's list of a process's children")
def test_no_process_is_left(schema: Schema) -> None:
    """Neither a child nor a zombie."""
    before = CHILDREN.read_text().split()
    for make in (linear, lambda: models.filled("Expand", hidden=True), lambda: model(graph([]))):
        with pytest.raises(UsageError):
            OnnxExpert(make().SerializeToString()[1:], schema, "it")
    assert set(CHILDREN.read_text().split()) <= set(before)
