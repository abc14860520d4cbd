"""The perceptron on tokens of a table's columns."""

import pytest
import torch
from torch import nn

from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.table import Column, Table
from mosaic_fl.errors import UsageError
from mosaic_fl.models import build
from mosaic_fl.models.tokens import PIECES, TOKEN, Tokens, pieces
from table_cases import SCHEMA, patients


def test_a_number_fills_the_pieces_below_it() -> None:
    filled = pieces(torch.tensor([[-1.0, 1.0, -0.375]]))
    assert filled[0, 0].tolist() == [0] * PIECES
    assert filled[0, 1].tolist() == [1] * PIECES
    assert filled[0, 2].tolist() == [1, 1, 0.5, 0, 0, 0, 0, 0]  # 0.625 of −1..1 from the left: 2.5 of 8 pieces


def test_a_column_has_a_token_and_indicators_come_as_they_are() -> None:
    model = build("tokens:16:1", SCHEMA).eval()
    assert isinstance(model, Tokens)
    inputs = patients(40).samples.inputs()
    assert isinstance(inputs, torch.Tensor)
    tokens = model.tokens(inputs)
    assert tokens.shape == (40, 3 + 3 * TOKEN)  # smoker and two indicators; two numbers and a ward
    assert set(tokens[:, 0].tolist()) == {-1, 1}
    hot = inputs[:, -4:-1]
    assert torch.allclose(tokens[:, -TOKEN:], hot @ model.categories[0].weight.T)
    features = model.features(inputs)
    assert torch.equal(model(inputs), model.head(features))


def test_every_weight_learns_and_is_counted() -> None:
    model = build("tokens:16:2", SCHEMA)
    numbers = 2 * (PIECES * TOKEN + TOKEN)
    layers = (27 * 16 + 32) + (16 * 16 + 32) + (16 * 3 + 3)
    assert sum(p.numel() for p in model.parameters()) == numbers + 3 * TOKEN + layers
    inputs = patients(40).samples.inputs()
    nn.functional.cross_entropy(model(inputs), torch.arange(40) % 3).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    "column", [Column("smoker", "boolean"), Column("age", "whole", low=0, high=9, knots=(0, 9)),
               Column("ward", "category", categories=("a", "b"))]
)  # fmt: skip
def test_a_table_of_one_type_is_taken(column: Column) -> None:
    schema = Schema({"table": Table((column,))}, ("a", "b"))
    rows = torch.tensor([[0.0], [1.0]])
    assert build("tokens:8:1", schema)(schema.kind.to_network(rows)).shape == (2, 2)


def test_other_samples_are_refused_in_one_line() -> None:
    with pytest.raises(UsageError, match="tokens takes rows of a table, not 1×8×8 images: mlp takes"):
        build("tokens", image_schema((1, 8, 8), ("a", "b")))
