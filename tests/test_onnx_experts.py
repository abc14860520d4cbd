"""ONNX models as experts: what they take, what their outputs mean, and the lives of their processes."""

import json
from math import log

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("onnxruntime", reason="mosaic-fl[trees] is not installed")
pytest.importorskip("onnx", reason="mosaic-fl[trees] is not installed")
from onnx import TensorProto

from mosaic_fl.domains.image import Image
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.experts.onnx.answers import LEAST, NEVER, SURE
from onnx_models import after_linear, close, constant, expert, graph, linear, model, node, rows, samples, weights


def test_logits_probabilities_and_their_logarithms_mean_the_same(schema: Schema) -> None:
    expected = (rows(schema) @ torch.from_numpy(weights())).log_softmax(1)
    for ending in ("Identity", "Softmax", "LogSoftmax"):
        answers = expert(linear(weights(), ending), schema).log_probabilities(samples(schema))
        assert answers.dtype == torch.float32
        assert close(answers, expected), ending
    # Numbers in 0..1 whose rows do not sum to 1 are logits; the model can say what it gives, and is held to it.
    scores = expert(linear(weights(), "Sigmoid"), schema).log_probabilities(samples(schema))
    assert close(scores, (rows(schema) @ torch.from_numpy(weights())).sigmoid().log_softmax(1))
    with pytest.raises(UsageError, match="it: the ONNX model gives rows that are no probabilities"):
        expert(linear(weights(), "Sigmoid", outputs="probabilities"), schema)
    with pytest.raises(UsageError, match=r"mosaic.outputs = 'odds': it can be logits, probabilities, labels"):
        expert(linear(weights(), outputs="odds"), schema)
    with pytest.raises(UsageError, match="gives float32, which are no labels"):
        expert(linear(weights(), outputs="labels"), schema)


def test_a_probability_of_zero_is_a_small_one(schema: Schema) -> None:
    """A forest of which no tree has the class says 0, whose logarithm would be a veto that nothing outweighs."""
    certain = linear(np.zeros((64, 3)), "Hardmax")
    answers = expert(certain, schema).log_probabilities(samples(schema))
    assert close(answers, torch.tensor([[0.0, log(LEAST), log(LEAST)]]).expand(5, 3), 1e-4)


def test_hard_labels_are_smoothed(schema: Schema) -> None:
    best = (rows(schema) @ torch.from_numpy(weights())).argmax(1)
    expected = torch.full((5, 3), (1 - SURE) / 2).scatter(1, best[:, None], SURE).log()
    for kept, gives in ((0, [None]), (1, [None, 1])):
        last = [node("MatMul", ["x", "w"], ["t"]), node("ArgMax", ["t"], ["y"], axis=1, keepdims=kept)]
        made = model(graph(last, [constant("w", weights())], gives=gives, type=TensorProto.INT64))
        assert close(expert(made, schema).log_probabilities(samples(schema)), expected)
    beyond = after_linear(
        [node("ArgMax", ["s"], ["i"], axis=1), node("Add", ["i", "three"], ["y"])],
        [constant("three", 3, np.int64)], gives=[None, 1], type=TensorProto.INT64,
    )  # fmt: skip
    with pytest.raises(UsageError, match=r"that are not one in 0\.\.2 a sample"):
        expert(beyond, schema)


def test_an_expert_of_some_classes_gives_the_others_next_to_nothing(schema: Schema) -> None:
    made = linear(weights()[:, :2], classes=json.dumps(["c", "a"]))
    made.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 2
    own = (rows(schema) @ torch.from_numpy(weights()[:, :2])).log_softmax(1)
    answers = expert(made, schema).log_probabilities(samples(schema))
    assert close(answers[:, [2, 0]], own)
    assert answers[:, 1].tolist() == pytest.approx([NEVER] * 5)


def test_one_score_of_two_classes_is_the_second_ones() -> None:
    schema = image_schema((1, 8, 8), ("no", "yes"))
    score = rows(schema) @ torch.from_numpy(weights()[:, :1])
    expected = torch.cat([(-score).sigmoid(), score.sigmoid()], 1).log()
    for ending in ("Identity", "Sigmoid"):
        made = linear(weights()[:, :1], ending)
        made.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 1
        assert close(expert(made, schema).log_probabilities(samples(schema)), expected), ending


@pytest.mark.parametrize("batch", [None, 1, 4])
def test_an_image_comes_in_the_order_that_the_model_takes(batch: int | None) -> None:
    """Flat, channels first or last; any number at once, or a fixed one. The sum over channel 1 shows which is which."""
    schema = image_schema((3, 2, 5), ("a", "b"))
    images = samples(schema).inputs()
    assert isinstance(images, Tensor)
    expected = torch.stack([images[:, 0].sum((1, 2)), images[:, 1].sum((1, 2))], 1).log_softmax(1)
    flat = np.zeros((30, 2), np.float32)
    flat[:10, 0] = flat[10:20, 1] = 1
    last = flat.reshape(3, 10, 2).transpose(1, 0, 2).reshape(30, 2)
    for takes, values in (((30,), flat), ((3, 2, 5), flat), ((2, 5, 3), last), ((3, None, None), flat)):
        nodes = [node("Flatten", ["x"], ["r"]), node("MatMul", ["r", "w"], ["y"])]
        made = model(graph(nodes, [constant("w", values)], takes=(batch, *takes), gives=(batch, 2)))
        assert close(expert(made, schema).log_probabilities(samples(schema)), expected), takes


def test_values_at_rest_are_taken_where_the_model_says_so(schema: Schema) -> None:
    mean = np.zeros((64, 3), np.float32)
    mean[:, 0] = 1 / 64
    pixels = samples(schema).values["image"].float().mean((1, 2, 3))
    for inputs, first in (("rest", pixels), ("network", pixels / 127.5 - 1)):
        expected = torch.stack([first, first * 0, first * 0], 1).log_softmax(1)
        answers = expert(linear(mean, inputs=inputs), schema).log_probabilities(samples(schema))
        assert close(answers, expected, 1e-4), inputs
    with pytest.raises(UsageError, match="mosaic.inputs = 'raw': it can be rest or network"):
        expert(linear(inputs="raw"), schema)


def test_no_samples_have_no_answers(schema: Schema) -> None:
    assert expert(linear(), schema).log_probabilities(samples(schema, 0)).shape == (0, 3)


def test_several_fields_are_one_row_in_the_order_of_their_names() -> None:
    kinds = {"right": Image((1, 2, 2)), "left": Image((1, 1, 3))}
    schema = Schema(kinds, ("a", "b"))
    values = {name: torch.arange(4)[:, None, None, None].expand(4, *kind.shape) for name, kind in kinds.items()}
    views = Samples(kinds, {"right": values["right"].to(torch.uint8), "left": 9 * values["left"].to(torch.uint8)})
    inputs = views.inputs()
    assert isinstance(inputs, dict)
    weights = np.zeros((7, 2), np.float32)
    weights[:3, 0] = weights[3:, 1] = 1
    nodes = [node("MatMul", ["x", "w"], ["y"])]
    made = model(graph(nodes, [constant("w", weights)], takes=(None, 7), gives=(None, 2)))
    sums = [inputs[name].flatten(1).sum(1) for name in ("left", "right")]
    assert close(expert(made, schema).log_probabilities(views), torch.stack(sums, 1).log_softmax(1))
    narrow = model(graph(nodes, [constant("w", weights[:4])], takes=(None, 4), gives=(None, 2)))
    with pytest.raises(UsageError, match=r"of the shape \(n, 4\), and these samples are \(n, 7\) encoded"):
        expert(narrow, schema)
