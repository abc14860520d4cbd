"""The rules of `rounds.aggregate`, by hand."""

import pytest
import torch

from mosaic_fl.config.aggregation import fewest, liars_among
from mosaic_fl.numerics.aggregation import aggregate, geometric_weights, mixed, nearest_to_others
from mosaic_fl.numerics.states import State

RULES = ("median", "trimmed", "krum", "geometric_median")


def states(*values: float) -> list[State]:
    """One weight each, and a counter of batches beside it."""
    return [{"w": torch.tensor([float(v)]), "n": torch.tensor(i)} for i, v in enumerate(values)]


def merged(rule: str, values: list[float], liars: int = 1, samples: list[int] | None = None) -> float:
    return float(aggregate(rule, states(*values), samples or [10] * len(values), liars)["w"])


def test_each_rule_by_hand() -> None:
    assert merged("median", [1, 2, 100]) == 2
    assert merged("median", [1, 2, 4, 100]) == 3  # (2 + 4)/2
    assert merged("trimmed", [-100, 1, 2, 6, 1e30]) == 3  # (1 + 2 + 6)/3
    assert merged("krum", [1, 2, 3, 4, 100]) == 2.5  # without 100, whose neighbours are far
    # Of numbers on a line the geometric median is the weighted median.
    assert merged("geometric_median", [1, 2, 100]) == pytest.approx(2, abs=1e-3)
    assert merged("geometric_median", [1, 2, 100], samples=[30, 10, 10]) == pytest.approx(2, abs=1)


def test_the_geometric_median_of_a_square_is_its_middle() -> None:
    corners = [{"w": torch.tensor([x, y])} for x in (0.0, 2.0) for y in (0.0, 2.0)]
    assert geometric_weights(corners, [1.0] * 4) == pytest.approx([0.25] * 4)
    far = [*corners, {"w": torch.tensor([1e30, 1e30])}]
    middle = aggregate("geometric_median", far, [1] * 5, 1)["w"]
    assert float((middle - 1).norm()) < 1  # the mean is at 2e29


def test_krum_keeps_those_whose_neighbours_are_near() -> None:
    # n = 5, f = 1: two neighbours each. Scores: 1 + 4, 1 + 1, 1 + 4, 25 + 36, 2·94² and more.
    assert nearest_to_others(states(0, 1, 2, 7, 100), 1) == [0, 1, 2, 3]
    assert nearest_to_others(states(100, 0, 1, 2, 7), 1) == [1, 2, 3, 4]


def test_mixing_makes_each_state_the_mean_of_its_neighbourhood() -> None:
    near = [float(state["w"]) for state in mixed(states(0, 1, 5, 100), 1)]
    assert near == pytest.approx([2, 2, 2, (100 + 5 + 1) / 3])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("mix", [False, True])
def test_one_liar_moves_no_rule_out_of_the_others(rule: str, mix: bool) -> None:
    honest = [0.0, 1.0, 2.0, 3.0]
    for lie in (1e30, -1e30):
        result = float(aggregate(rule, states(*honest, lie), [10] * 5, 1, mix=mix)["w"])
        assert -1 <= result <= 4


@pytest.mark.parametrize("rule", RULES)
def test_no_rule_believes_a_claim_of_samples(rule: str) -> None:
    honest = [10.0, 11.0, 12.0, 13.0]
    result = merged(rule, [0.0, *honest], samples=[10**9, 10, 10, 10, 10])
    assert 9 <= result <= 13


@pytest.mark.parametrize("rule", RULES)
def test_equal_states_stay_and_counters_are_their_lower_median(rule: str) -> None:
    same = [{"w": torch.tensor([0.1, -3.0]), "n": torch.tensor(n)} for n in (7, 7, 8, 8, 10**12, 9)]
    result = aggregate(rule, same, [1, 5, 2, 2, 9, 3], 1)
    assert torch.equal(result["w"], same[0]["w"])
    assert result["w"].dtype == torch.float32
    assert int(result["n"]) in (7, 8)


def test_how_many_clients_a_rule_takes() -> None:
    assert [liars_among(n, 0.2) for n in (1, 5, 6, 10, 100)] == [1, 1, 2, 2, 20]
    assert liars_among(100, 0.07) == 7  # 0.07 · 100 is 7.000000000000001
    assert [fewest(rule, 2) for rule in ("mean", *RULES)] == [1, 5, 5, 7, 5]
