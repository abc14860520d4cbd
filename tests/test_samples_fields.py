"""Samples with several fields, some of which some rows lack."""

import json

import pytest
import torch

from mosaic_fl.domains.image import Image
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.table import Column, Table
from mosaic_fl.errors import UsageError

KINDS = {"xray": Image((1, 2, 2)), "table": Table((Column("age", "numeric", low=0.0, high=9.0, knots=(0.0, 9.0)),))}
HALF = torch.tensor([True, False, True])


def three() -> Samples:
    """Three samples; the second has no x-ray."""
    values = {"xray": torch.full((3, 1, 2, 2), 255, dtype=torch.uint8), "table": torch.full((3, 1), 9.0)}
    return Samples(KINDS, values, {"xray": HALF})


def test_fields_are_those_that_a_row_has() -> None:
    samples = three()
    assert samples.fields == ("table", "xray")
    assert samples[torch.tensor([1])].fields == ("table",)
    assert samples[torch.tensor([0])].fields == ("table", "xray")


def test_having_says_which_rows_have_a_field() -> None:
    samples = three()
    assert samples.having("xray").tolist() == [True, False, True]
    assert samples.having("table").tolist() == [True, True, True]
    with pytest.raises(UsageError, match="mri"):
        samples.having("mri")


def test_a_sample_without_any_field_is_seen() -> None:
    assert three().having_any().tolist() == [True, True, True]
    assert three().with_fields(("xray",)).having_any().tolist() == [True, False, True]


def test_with_fields_leaves_the_others_out_of_every_row() -> None:
    only = three().with_fields(("xray",))
    assert only.fields == ("xray",)
    assert only.having("xray").tolist() == [True, False, True]  # a row that lacks it lacks it on
    assert only.having("table").tolist() == [False, False, False]
    assert only.values["table"].tolist() == [[0.0]] * 3  # nothing of the values is left
    inputs = only.inputs()
    assert isinstance(inputs, dict)
    assert inputs["table"].abs().sum() == 0
    assert inputs["xray"].flatten(1).tolist() == [[1.0] * 4, [0.0] * 4, [1.0] * 4]


def test_with_all_fields_the_samples_are_the_same() -> None:
    same = three().with_fields(("table", "xray"))
    assert same.fields == ("table", "xray")
    assert same.having("xray").equal(HALF)


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(UsageError, match="mri"):
        three().with_fields(("mri",))
    with pytest.raises(UsageError, match="mri"):
        Samples(KINDS, three().values, {"mri": HALF})


def test_fields_stand_in_the_order_of_their_names_wherever_they_come_from() -> None:
    """Files sort names, and the weights of a network have the order of the fields."""
    schema = Schema(KINDS, ("a", "b"))
    assert list(KINDS) == ["xray", "table"]
    assert list(schema.fields) == list(three().kinds) == ["table", "xray"]
    stored = json.loads(json.dumps(schema.to_json(), sort_keys=True))
    assert list(Schema.from_json(stored).fields) == ["table", "xray"]
