"""The kind `vector`: values at rest, the schema that sites compare, and what is received from anywhere."""

import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

from mosaic_fl.domains.image import Image
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.vector import MAX_SIZE, Vector
from mosaic_fl.errors import UsageError

DIGEST = "ab" * 32
OWN = Vector(3)
ENCODED = Vector(3, "gabor", DIGEST, Image((1, 8, 8)))
VALUES = torch.tensor([[1.0, -2.5, 0.0], [3e38, 0.1, 7.0]])


def test_vectors_are_the_same_at_rest_and_in_a_network_which_gets_a_copy() -> None:
    inputs = OWN.to_network(VALUES)
    assert torch.equal(inputs, VALUES)
    inputs.zero_()
    assert VALUES[0, 0] == 1
    assert torch.equal(OWN.to_rest(VALUES), VALUES)
    assert OWN.shape == (3,)


def test_what_float32_cannot_hold_becomes_its_largest_value() -> None:
    most = torch.finfo(torch.float32).max
    rest = OWN.to_rest(torch.tensor([[1e300, -1e300, 1.0]], dtype=torch.float64))
    assert rest.tolist() == [[most, -most, 1.0]]
    OWN.check(rest)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (VALUES.double(), r"vectors are torch.float64 \(2, 3\), the schema says float32 \(n, 3\)"),
        (VALUES[:, :2], r"vectors are torch.float32 \(2, 2\)"),
        (torch.tensor([[0.0, 0, 0], [0, float("nan"), 0]]), "vector 1 has nan at place 1: numbers must be finite"),
        (torch.tensor([[0.0, 0, float("inf")]]), "vector 0 has inf at place 2"),
    ],
)
def test_other_values_are_refused(values: Tensor, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        OWN.check(values)


@pytest.mark.parametrize("kind", [OWN, ENCODED, Vector(MAX_SIZE, "a:b"), Vector(1, "x", DIGEST)])
def test_a_schema_comes_back_from_json_and_from_another_process(kind: Vector) -> None:
    schema = Schema({"vector": kind}, ("no", "yes"))
    assert Schema.from_json(schema.to_json()) == schema
    assert pickle.loads(pickle.dumps(schema)) == schema  # noqa: S301
    assert (schema.of_rows, schema.of_vectors) == (True, True)


def test_vectors_of_a_user_say_their_size_alone() -> None:
    assert Schema({"vector": OWN}, ("a", "b")).to_json() == {"kind": "vector", "classes": ["a", "b"], "size": 3}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"size": 0}, "vectors of 0 numbers"),
        ({"size": MAX_SIZE + 1}, "vectors of 65,537 numbers: 1..65,536 are used"),
        ({"size": -1}, "1..65,536"),
        ({"size": True}, "no size"),
        ({"size": 3.0}, "no size"),
        ({}, "no size"),
        ({"size": 3, "encoder": 7}, "no size, or an encoder"),
        ({"size": 3, "encoder": "a\n"}, "encoder name"),
        ({"size": 3, "encoder": "a" * 201}, "encoder name"),
        ({"size": 3, "encoder": "gabor", "digest": "xyz"}, "64 hexadecimal digits"),
        ({"size": 3, "encoder": "gabor", "digest": DIGEST + "\n"}, "64 hexadecimal digits"),
        ({"size": 3, "digest": DIGEST}, "and no encoder"),
        ({"size": 3, "encoder": "gabor", "of": {"kind": "vector", "size": 3}}, "no size, or an encoder"),
        ({"size": 3, "encoder": "gabor", "of": {"kind": "nowhere"}}, "kind"),
        ({"size": 3, "encoder": "gabor", "of": [1]}, "without a kind"),
        ({"size": 3, "encoder": "gabor", "of": {"kind": "image", "shape": [1, 10**9, 1], "range": [0, 255]}}, "bounds"),
    ],
)
def test_hostile_schemas_are_refused(value: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Schema.from_json({"kind": "vector", "classes": ["a", "b"], **value})


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (Vector(4), "vectors of 3 numbers, not vectors of 4 numbers"),
        (Image((1, 8, 8)), "vectors of 3 numbers, not 1×8×8 images"),
        (OWN, "vectors of encoder gabor, not of no public encoder"),
        (Vector(3, "strokes", DIGEST), "vectors of encoder gabor, not of encoder strokes"),
        (Vector(3, "gabor", "cd" * 32), "with the digest abababababab, not cdcdcdcdcdcd: another version, or other"),
        (Vector(3, "gabor", DIGEST, Image((3, 8, 8))), "vectors of images of 1×8×8, not 3×8×8"),
        (Vector(3, "gabor", DIGEST), "vectors of 1×8×8 images, not of something not told"),
    ],
)
def test_a_difference_says_what_differs(other: Any, words: str) -> None:
    assert words in ENCODED.difference(other)


def test_no_vectors_are_public() -> None:
    assert OWN.prior_source("auto") == "none"
    with pytest.raises(UsageError, match="photos"):
        OWN.check_prior("photos")
