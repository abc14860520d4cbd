"""What trees do not tell: rows of a class of their own, values of one row, anything of fewer than ten rows."""

import pytest
import torch

from cart_cases import CODES, NUMBER, drawn, fit
from mosaic_fl.generators.cart import leaves
from table_cases import patients, rows


def test_a_row_of_its_own_class_stands_nowhere_in_the_state_and_is_never_drawn() -> None:
    many = patients(300)
    lonely = torch.tensor([[97, 7.777, 1, 1]])
    generator = fit(rows(torch.cat([many.samples.only, lonely]), torch.cat([many.labels, torch.tensor([2])])))
    numbers = torch.cat([generator.summary, generator.threshold])
    assert not bool(((numbers - 97).abs() < 0.5).any())
    assert not bool(((numbers - 7.777).abs() < 1e-4).any())
    for label in range(3):
        values = drawn(generator, torch.full((2000,), label))
        assert not bool((values[:, 0] > 81).any())
        assert not bool((values - lonely).abs().lt(1e-3).all(1).any())


def test_fewer_than_ten_rows_tell_nothing() -> None:
    one, other = (fit(rows(patients(9, seed).samples.only, torch.zeros(9))) for seed in (1, 2))
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())


def test_a_value_that_one_row_alone_has_is_coded_away() -> None:
    data = patients(300)
    values = data.samples.only.clone()
    values[:, 3] = 2
    values[:, 1] = torch.nan
    values[7, 3] = 0
    values[7, 1] = 8.5
    generator = fit(rows(values, data.labels))
    assert not bool(((generator.summary - 8.5).abs() < 1e-4).any())
    draws = drawn(generator, torch.arange(3000) % 2)
    assert bool(draws[:, 1].isnan().all())
    assert not bool((draws[:, 3] == 0).any())


def test_a_leaf_of_few_values_says_what_all_leaves_say_or_that_the_column_is_missing() -> None:
    leaf = torch.tensor([0] * 20 + [1] * 10)
    few = torch.cat([torch.arange(20.0), torch.tensor([99.0]), torch.full((9,), torch.nan)])
    one = leaves.summarise(few, leaf, 2, NUMBER, 3)
    assert one[1, :-1].tolist() == pytest.approx([50, 0, 1.0, 10, 50.6], abs=0.5)  # of 0..19 and 99
    assert float(one[1, -1]) == pytest.approx(0.9)
    absent = few.masked_fill(leaf == 0, torch.nan)
    assert leaves.summarise(absent, leaf, 2, NUMBER, 3)[1].tolist() == [50, 0, 50, 50, 50, 1]
    codes = torch.where(few.isnan(), few, few % 2)
    shares = leaves.summarise(codes, leaf, 2, CODES, 3)[1]
    assert shares.tolist() == pytest.approx([0.1 * 10 / 21, 0.1 * 11 / 21, 0, 0.9])
    assert leaves.summarise(absent.clamp(max=2), leaf, 2, CODES, 3)[1].tolist() == [0, 0, 0, 1]
