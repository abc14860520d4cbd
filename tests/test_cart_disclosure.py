"""What trees do not tell: rows of a class of their own, values of one row, anything of fewer than ten rows."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from cart_cases import CODES, CPU, NUMBER, drawn, fit
from mosaic_fl.client.contribute import Site, contribute
from mosaic_fl.config import Config
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.generators.cart import leaves
from mosaic_fl.generators.cart.disclosure import MOST_CODES, common_values, decode, nearest
from mosaic_fl.training.monitor import Recorder
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


def test_values_of_ten_rows_each_are_told_one_by_one_where_they_are_nearly_all() -> None:
    # 0 in 900 rows, 5 and 7 in 45 each: with ten rows of other values 90 of 100 beside the most frequent are common
    numbers = torch.cat([torch.zeros(900), torch.full((45,), 5.0), torch.full((45,), 7.0), torch.arange(10.0, 20.0)])
    assert common_values(numbers, NUMBER).tolist() == [0, 5, 7]
    assert common_values(numbers[1:], NUMBER).tolist() == [0, 5, 7]  # the most frequent one does not count
    assert common_values(torch.cat([numbers, torch.tensor([30.0])]), NUMBER).tolist() == []  # 90 of 101
    assert common_values(torch.arange(100.0).repeat(MOST_CODES), NUMBER).tolist() == []  # too many
    assert common_values(torch.full((9,), 4.0), NUMBER).tolist() == []
    assert common_values(numbers.clamp(max=2), CODES).tolist() == []
    assert common_values(torch.full((20,), torch.nan), NUMBER).tolist() == []


def test_a_value_of_few_rows_becomes_the_nearest_one_that_is_told() -> None:
    codes = torch.tensor([0.0, 5.0, 7.0])
    values = torch.tensor([0.0, 2.4, 2.6, 6.1, 30.0, torch.nan])
    told = nearest(values, codes)
    assert told[:5].tolist() == [0, 0, 1, 2, 2]
    assert decode(told, codes)[:5].tolist() == [0, 0, 5, 7, 7]
    assert bool(told[5].isnan())
    assert bool(decode(told, codes)[5].isnan())


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("coded", lambda t: t + 100, "codes: 0..64 of numbers"),
        ("coded", lambda t: -t, "codes: 0..64 of numbers"),
        ("coded", lambda t: t.flip(0), "'ward' has .* codes: 0..64 of numbers, 0 of others"),
        ("coded", lambda t: t - 1, "codes: 0..64 of numbers"),
        ("coded", lambda t: t[:2], "numbers where its trees need"),
        ("coded", lambda t: t.float(), "numbers where its trees need"),
        ("codes", lambda t: t.flip(0), "do not increase"),
        ("codes", lambda t: t + 200, "out of its range"),
        ("codes", lambda t: t[1:], "codes"),
    ],
)
def test_hostile_codes_are_refused_when_they_come(name: str, change: Callable[[Tensor], Tensor], words: str) -> None:
    config = Config().with_values({"train.max_steps": 20, "train.min_steps": 20})
    contribution = contribute(Site(1, patients(1200), "mlp:8:1"), config, CPU, lambda _: Recorder())
    state = contribution.generator
    assert state is not None
    assert state["coded"].tolist() == [42, 0, 0, 0]
    again = Contribution.from_bytes(contribution.to_bytes()).generator
    assert again is not None
    assert torch.equal(again["codes"], torch.cat([torch.arange(20.0, 41), torch.arange(60.0, 81)]))
    with pytest.raises(UsageError, match=words):
        Contribution.from_bytes(replace(contribution, generator={**state, name: change(state[name])}).to_bytes())
