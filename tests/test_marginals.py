"""The Bayesian network `marginals`: counts, cells of ten rows, bins, parents, draws; all by hand."""

import math

import pytest
import torch

from marginals_cases import drawn, fit
from mosaic_fl.domains.table import Column
from mosaic_fl.generators.marginals import bins
from mosaic_fl.generators.marginals.cells import count, pool, runs
from mosaic_fl.generators.marginals.structure import NONE, WIDEST, learn, pairwise
from mosaic_fl.generators.picking import pick
from table_cases import SCHEMA, patients, rows

NUMBER = Column("dose", "numeric", low=0, high=100, knots=(0, 100), missing=True)
WHOLE = Column("age", "whole", low=0, high=100, knots=(0, 100))
CODES = Column("ward", "category", categories=("a", "b", "c"), missing=True)


def test_rows_are_counted_by_group_parents_and_own_bin() -> None:
    group = torch.tensor([0, 0, 0, 1])
    first = torch.tensor([0, 1, 1, 0])
    none = torch.zeros(4, dtype=torch.int64)
    counts = count(group, (first, none), torch.tensor([2, 0, 0, 1]), (2, 2, 1, 3))
    assert counts.tolist() == [[[[0, 0, 1]], [[2, 0, 0]]], [[[0, 1, 0]], [[0, 0, 0]]]]


@pytest.mark.parametrize(
    ("counts", "natural", "expected"),
    [
        ([10, 3, 8, 12, 4], True, [0, 1, 1, 2, 2]),  # the last 4 join the 12
        ([4, 4, 4], True, [0, 0, 0]),
        ([3, 3], True, [0, 0]),  # fewer than ten in all
        ([0, 12, 0, 10, 0], True, [0, 0, 1, 1, 1]),  # bins without rows belong to a run as well
        ([4, 30, 7, 0, 11], False, [2, 0, 2, 2, 1]),  # the 7 and the 4, neighbours by their rows
        ([4, 30, 3], False, [0, 0, 0]),
    ],
)
def test_neighbours_are_joined_until_ten_rows_stand_in_each_run(
    counts: list[int], natural: bool, expected: list[int]
) -> None:
    assert runs(torch.tensor(counts), natural, 10).tolist() == expected


def test_a_table_of_counts_is_as_fine_as_its_rows_allow() -> None:
    # One group; first parent of 3 bins, second of 2; own column of 2 bins.
    counts = torch.tensor([[[[8, 4], [3, 9]], [[1, 2], [0, 3]], [[2, 2], [5, 0]]]])  # rows by first parent: 24, 6, 9
    told = pool(counts, (True, True), 10)
    # The 6 and the 9 are joined: [[3, 4], [5, 3]], of which the second has 8 rows and the first 7: one cell.
    assert told.cell.tolist() == [[[0, 1], [2, 2], [2, 2]]]
    assert told.share.tolist() == [
        pytest.approx([8 / 12, 4 / 12]),
        pytest.approx([3 / 12, 9 / 12]),
        pytest.approx([8 / 15, 7 / 15]),
    ]


def test_each_row_counts_in_one_cell_and_no_cell_has_fewer_than_ten() -> None:
    rng = torch.Generator().manual_seed(0)
    counts = torch.randint(0, 4, (3, 5, 6, 4), generator=rng)
    told = pool(counts, (True, False), 10)
    in_cell = torch.zeros(len(told.share), dtype=torch.int64).index_add_(
        0, told.cell.flatten(), counts.sum(3).flatten()
    )
    assert int(in_cell.min()) >= 10
    assert int(in_cell.sum()) == int(counts.sum())
    own = torch.zeros(told.share.shape).index_add_(0, told.cell.flatten(), counts.flatten(0, 2).float())
    assert torch.allclose(told.share, own / in_cell[:, None])


def test_counts_with_noise_give_tables_all_the_same() -> None:
    told = pool(torch.tensor([[[[12.5, -3.0]]], [[[-1.0, -2.0]]]]), (True, True), 10)
    assert told.cell.tolist() == [[[0]], [[1]]]
    assert told.share.tolist() == [[1, 0], [0.5, 0.5]]


def test_a_frequent_value_is_a_bin_and_the_missing_ones_are_the_last() -> None:
    values = torch.cat([torch.zeros(40), torch.arange(11, 71).float(), torch.full((15,), torch.nan)])
    result = bins.of_column(values, NUMBER, 13)  # four of 25 rows each; 0 has 40
    assert torch.bincount(result.codes).tolist() == [40, 25, 25, 10, 15]
    assert result.count == 5
    assert result.values[0].tolist() == [0] * 5
    assert float(result.values[1].min()) > 11
    assert float(result.values[1].max()) < 35
    draws = bins.draw(torch.tensor([0, 4, 1]), result.values, torch.tensor([0.3, 0.3, 0.0]), NUMBER, 5)
    assert draws[0] == 0
    assert draws[1].isnan()
    assert draws[2] == result.values[1, 0]


def test_a_gap_divides_bins() -> None:
    values = torch.cat([torch.arange(20, 41), torch.arange(60, 81)]).float().repeat(5)
    result = bins.of_column(values, WHOLE, 13)  # 210 rows; four bins of 52 would have one from 40 to 60
    inside = result.values[:, 0] - result.values[:, -1]
    assert float(inside.abs().max()) < 20
    assert bins.of_column(values[:60], WHOLE, 13).count == 2


def test_a_column_without_values_has_one_bin_and_the_missing_one() -> None:
    result = bins.of_column(torch.full((30,), torch.nan), NUMBER, 9)
    assert (result.codes.unique().tolist(), result.count) == ([1], 2)
    assert result.values.tolist() == [[50] * 5]
    codes = bins.of_column(torch.tensor([0.0, 2.0, torch.nan]), CODES, 9)
    assert (codes.codes.tolist(), codes.count, codes.values.numel()) == ([0, 2, 3], 4, 0)


def test_whole_numbers_are_rounded_and_even_between_quantiles() -> None:
    values = torch.tensor([[0.0, 4, 8, 12, 16]])
    u = torch.tensor([0.0, 0.26, 0.5, 0.999])
    assert bins.draw(torch.zeros(4, dtype=torch.int64), values, u, WHOLE, 1).tolist() == [0, 4, 8, 16]


def test_a_pick_leaves_a_uniform_number() -> None:
    share = torch.tensor([[0.25, 0.0, 0.75]]).repeat(3, 1)
    places, levels = pick(share, torch.tensor([0.125, 0.25, 0.625]))
    assert places.tolist() == [0, 2, 2]
    assert levels.tolist() == pytest.approx([0.5, 0.0, 0.5], abs=2e-6)


def test_information_is_that_of_the_tables_less_its_bias() -> None:
    # Two equal columns of two even bins: ln 2, less (2 − 2 − 2 + 1) / (2 · 40) cells; a third is independent of them.
    x = torch.arange(40) % 2
    z = torch.arange(40) // 2 % 2
    gain = pairwise(torch.stack([x, x, z], 1), [2, 2, 2], torch.zeros(40, dtype=torch.int64))
    assert float(gain[0, 1]) == pytest.approx(math.log(2) + 1 / 80)
    assert float(gain[0, 2]) == pytest.approx(-1 / 80)
    assert float(gain[2, 2]) == pytest.approx(math.log(2))


def test_a_column_of_two_causes_has_both_for_parents_and_chance_has_none() -> None:
    rng = torch.Generator().manual_seed(1)
    a, b, other = torch.randint(0, 2, (3, 400), generator=rng)
    noise = torch.rand(400, generator=rng) < 0.05
    xor = (2 * a + b + 4 * noise.long()) % 4
    structure = learn(torch.stack([a, b, xor, other], 1), [2, 2, 4, 2], torch.zeros(400, dtype=torch.int64), 400)
    family = {(int(column), int(p)) for column, own in enumerate(structure.parents) for p in own if p != NONE}
    assert {frozenset(pair) for pair in family} >= {frozenset((0, 2)), frozenset((1, 2))}
    assert structure.parents[3].tolist() == [NONE, NONE]


def test_parents_are_no_more_than_the_rows_can_fill() -> None:
    x = torch.arange(60) % 12
    codes = torch.stack([x, x], 1)
    group = torch.arange(60) // 30
    assert (learn(codes, [12, 12], group, 24).parents != NONE).sum() == 1
    assert (learn(codes, [12, 12], group, 23).parents != NONE).sum() == 0
    wide = learn(codes, [WIDEST, 12], group, 10**9)
    assert (wide.order.tolist(), (wide.parents != NONE).sum()) == ([0, 1], 0)


def test_what_is_drawn_obeys_the_laws_of_the_data() -> None:
    generator = fit(patients(800))
    labels = torch.arange(4000) % 2
    age, dose, smoker, ward = drawn(generator, labels).T
    assert bool((age == age.round()).all())
    assert (int(age[labels == 0].min()), int(age[labels == 0].max())) == (60, 80)  # ten rows and more have each
    assert (int(age[labels == 1].min()), int(age[labels == 1].max())) == (20, 40)
    assert float((dose == 0).float().mean()) == pytest.approx(0.5, abs=0.04)
    assert float(dose.isnan().float().mean()) == pytest.approx(0.25, abs=0.04)
    assert float(dose[dose > 0].min()) >= 5
    assert torch.equal(ward[labels == 0], smoker[labels == 0])  # a law between columns, of one class alone
    assert bool((ward[labels == 1] == 2).all())


def test_the_same_rows_give_the_same_tables_and_the_same_draws() -> None:
    one, other = (fit(patients(300)) for _ in range(2))
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())
    labels = torch.arange(50) % 2
    assert torch.equal(drawn(one, labels).nan_to_num(-1), drawn(other, labels).nan_to_num(-1))
    z = torch.randn(50, 4, generator=torch.Generator().manual_seed(5))
    assert torch.equal(one(z, labels), SCHEMA.kind.to_network(one.rows(z, labels)))


@pytest.mark.parametrize("number", [10, 19, 60])
def test_few_rows_constant_columns_and_absent_ones_are_drawn(number: int) -> None:
    values = torch.full((number, 4), torch.nan)
    values[:, 0] = 40
    values[:, 2] = 1
    values = drawn(fit(rows(values, torch.zeros(number))), torch.arange(30) % 3)
    assert bool((values[:, 0] == 40).all())
    assert bool((values[:, 2] == 1).all())
    assert bool(values[:, [1, 3]].isnan().all())


def test_fewer_than_ten_rows_tell_nothing() -> None:
    one, other = (fit(rows(patients(9, seed).samples.only, torch.zeros(9))) for seed in (1, 2))
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())


def test_a_row_of_its_own_class_stands_nowhere_in_the_state_and_is_never_drawn() -> None:
    many = patients(300)
    lonely = torch.tensor([[97, 7.777, 1, 1]])
    generator = fit(rows(torch.cat([many.samples.only, lonely]), torch.cat([many.labels, torch.tensor([2])])))
    assert not bool(((generator.values - 97).abs() < 0.5).any())
    assert not bool(((generator.values - 7.777).abs() < 1e-4).any())
    values = drawn(generator, torch.arange(3000) % 3)
    assert not bool((values[:, 0] > 81).any())
