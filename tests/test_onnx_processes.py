"""ONNX models as experts: the processes that run them, and what is left when one fails."""

import gc
import io
import os
import signal
import time
import warnings
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("onnxruntime", reason="mosaic-fl[trees] is not installed")
pytest.importorskip("onnx", reason="mosaic-fl[trees] is not installed")
from onnx import ModelProto

from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import MosaicError
from mosaic_fl.exchange.contribution import Contribution, no_prototypes
from mosaic_fl.experts.kind import Expert
from mosaic_fl.experts.onnx import bounds
from mosaic_fl.experts.onnx import model as running
from mosaic_fl.experts.onnx.expert import state_of
from mosaic_fl.models import build
from mosaic_fl.server.experts import MixtureOfExperts
from onnx_models import after_linear, close, constant, expert, linear, node, rows, samples, weights

CHILDREN = Path(f"/proc/self/task/{os.getpid()}/children")
needs_children = pytest.mark.skipif(not CHILDREN.exists(), reason="needs Linux's list of a process's children")


def network(name: str, schema: Schema) -> tuple[Expert, ModelProto]:
    """A network of this package and its export."""
    torch.manual_seed(0)
    made = build(name, schema).eval()
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            made, (torch.zeros(2, *schema.shape),), file, dynamo=False, input_names=["x"], output_names=["y"],
            dynamic_axes={"x": {0: "n"}, "y": {0: "n"}},
        )  # fmt: skip
    return made, ModelProto.FromString(file.getvalue())


@pytest.mark.parametrize("name", ["cnn:8", "mlp:64", "resnet8", "vit:32:2", "lenet"])
def test_a_network_says_the_same_as_in_pytorch(name: str) -> None:
    schema = image_schema((3, 32, 32), tuple("0123456789"))
    inside, made = network(name, schema)
    expected = inside.log_probabilities(samples(schema, 40)).log_softmax(1)
    assert close(expert(made, schema).log_probabilities(samples(schema, 40)), expected, 1e-4)


def test_a_process_costs_little_beside_the_network_in_pytorch() -> None:
    """At most half as long again; here with room for other work. benchmarks/experts.py measures it."""
    schema = image_schema((1, 28, 28), tuple("0123456789"))
    inside, made = network("cnn:16:3", schema)
    outside = expert(made, schema)
    many = samples(schema, 2000)

    def seconds(one: Expert) -> float:
        one.log_probabilities(many[:100])
        times = []
        for _ in range(3):
            start = time.perf_counter()
            one.log_probabilities(many)
            times.append(time.perf_counter() - start)
        return min(times)

    assert seconds(outside) < 3 * seconds(inside)


def test_a_model_that_fails_in_use_is_refused_for_good(schema: Schema) -> None:
    """It divides by a pixel that the trial's samples never have at this value."""
    nodes = [
        node("Gather", ["x", "first"], ["p"], axis=1),
        node("Sub", ["p", "white"], ["d"]),
        node("Div", ["s", "d"], ["y"]),
    ]
    made = after_linear(nodes, [constant("first", [0], np.int64), constant("white", 51 / 127.5 - 1)])
    outside = expert(made, schema)
    images = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    assert close(outside.log_probabilities(Samples(schema.fields, {"image": images})), torch.full((3, 3), -log(3)))
    images[1, 0, 0, 0] = 51  # 0 / 0
    with pytest.raises(MosaicError, match="^it: the ONNX model gives non-finite outputs: leave it out$"):
        outside.log_probabilities(Samples(schema.fields, {"image": images}))


@needs_children
def test_a_process_that_dies_or_is_late_is_not_asked_again(schema: Schema, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "LIMITS", bounds.Limits(start=20, call=0.2, patience=3))
    for number, how, reason in [
        (1, signal.SIGKILL, r"ended the process that ran it \(SIGKILL\), perhaps for want of memory"),
        (2, signal.SIGSTOP, "did not answer in time"),
    ]:
        before = children()
        outside = expert(linear(weights() * number), schema)
        (process,) = children() - before
        os.kill(process, how)
        for _ in range(2):
            with pytest.raises(MosaicError, match=f"^it: the ONNX model {reason}: leave it out"):
                outside.log_probabilities(samples(schema))
        assert process not in children()


def children() -> set[int]:
    return set(map(int, CHILDREN.read_text().split()))


@needs_children
def test_a_process_ends_with_its_expert(schema: Schema) -> None:
    before = children()
    first = expert(linear(weights() * 3), schema)
    second = expert(linear(weights() * 3), schema)
    assert len(children() - before) == 1  # the same bytes share one
    del first
    gc.collect()
    assert len(second.log_probabilities(samples(schema))) == 5
    del second
    gc.collect()
    assert children() <= before


@needs_children
def test_many_experts_have_few_processes(schema: Schema, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "MOST_AT_ONCE", 3)
    before = children()
    experts = [expert(linear(weights() * (10 + i)), schema) for i in range(5)]
    assert len(children() - before) <= 3
    for i, one in enumerate(experts):
        expected = (rows(schema) @ torch.from_numpy(weights() * (10 + i))).log_softmax(1)
        assert close(one.log_probabilities(samples(schema)), expected, 1e-3)
    assert len(children() - before) <= 3


def test_a_fork_has_processes_of_its_own(schema: Schema) -> None:
    """As the workers of a simulation: an expert that they inherit answers in both, and outlives their end."""
    outside = expert(linear(weights() * 4), schema)
    expected = outside.log_probabilities(samples(schema))
    child = os.fork()
    if not child:
        same = torch.equal(outside.log_probabilities(samples(schema)), expected)
        del outside
        gc.collect()
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert torch.equal(outside.log_probabilities(samples(schema)), expected)


@needs_children
def test_ctrl_c_ends_the_process(schema: Schema, monkeypatch: pytest.MonkeyPatch) -> None:
    before = children()
    outside = expert(linear(weights() * 5), schema)
    (process,) = children() - before

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mosaic_fl.experts.onnx.process._wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        outside.log_probabilities(samples(schema))
    assert process not in children()


@needs_children
def test_the_process_has_no_secret_and_listens_to_nothing(schema: Schema, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "abc")
    before = children()
    outside = expert(linear(weights() * 6), schema)
    (process,) = children() - before
    place = Path(f"/proc/{process}")
    assert b"SECRET_TOKEN" not in (place / "environ").read_bytes()
    links = [os.readlink(file) for file in (place / "fd").iterdir()]
    assert not [link for link in links if link.startswith("socket:")]
    assert "0" in (place / "limits").read_text().split("Max file size")[1].split()[:1]
    assert len(outside.log_probabilities(samples(schema))) == 5


def test_a_mixture_names_whose_expert_fails(schema: Schema) -> None:
    counts = torch.tensor([5, 5, 5])
    made = [linear(weights()), linear(weights(), "Softmax")]
    states = [state_of(one.SerializeToString()) for one in made]
    sent = [Contribution(k, schema, f"onnx:m{k}", state, counts, no_prototypes(), {}) for k, state in enumerate(states)]
    received = [Contribution.from_bytes(contribution.to_bytes()) for contribution in sent]
    mixture = MixtureOfExperts.of(received)
    outputs = mixture.outputs(samples(schema))
    assert outputs.shape == (5, 2, 3)
    assert close(outputs[:, 0], outputs[:, 1])
    second: Any = mixture.experts[1]
    second.model.close()
    second.model.failure = "did not answer in time"
    with pytest.raises(
        MosaicError, match="contribution of client 1: the ONNX model did not answer in time: leave it out"
    ):
        mixture.outputs(samples(schema))
