"""The ledger's sums: Gaussian releases compose exactly, all others by basic composition."""

from math import inf, sqrt
from typing import Any

import pytest

from mosaic_fl.client.budget import Spending, spend, spending
from mosaic_fl.config.site_limits import SiteLimits
from mosaic_fl.errors import RefusalError
from mosaic_fl.exchange.privacy import Part, Statement
from mosaic_fl.numerics.gaussian_mechanism import delta_of, epsilon_of, noise_multiplier


def moments(draw: str, epsilon: float = 1.0, delta: float = 1e-5) -> dict[str, Any]:
    return {"kind": "contribution", "draw": draw, "epsilon": epsilon, "delta": delta}


STEPS = [{"of": "expert", "noise": 1.0, "rate": 0.05, "steps": 600}]


def test_epsilon_is_the_inverse_of_delta() -> None:
    """ε = 1 and δ = 1e-5 ask for noise of 3.7304 (Balle & Wang); no noise to speak of has no ε."""
    multiplier = noise_multiplier(1.0, 1e-5)
    assert multiplier == pytest.approx(3.7304, abs=1e-3)
    assert epsilon_of(1e-5, multiplier) == pytest.approx(1.0, abs=1e-9)
    for epsilon, delta in ((0.01, 1e-6), (3.0, 1e-9), (100.0, 1e-5)):
        assert epsilon_of(delta, noise_multiplier(epsilon, delta)) == pytest.approx(epsilon, rel=1e-6)
    assert epsilon_of(0.5, 10.0) == 0.0
    assert epsilon_of(1e-5, 0.01) == inf


def test_two_equal_releases_are_one_of_mu_times_the_root_of_two() -> None:
    """Noise of 3.7304/√2 = 2.6378 once, at δ = 2e-5: ε = 1.39 and not 2. By hand: μ = 0.37911."""
    spent = spending([moments("a"), moments("b")])
    assert (spent.releases, spent.delta, spent.exact) == (2, 2e-5, True)
    assert spent.epsilon == pytest.approx(epsilon_of(2e-5, 3.730424 / sqrt(2)), rel=1e-4)
    assert delta_of(spent.epsilon, noise_multiplier(1.0, 1e-5) / sqrt(2)) == pytest.approx(2e-5, rel=1e-6)
    assert 1.3 < spent.epsilon < 1.5


def test_a_hundred_releases_cost_ten_times_mu_and_not_a_hundred_times_epsilon() -> None:
    """μ = 10 · 0.26807 = 2.6807, at δ = 1e-3: ε by ε = μ²/2 + μ·z, z at most Φ⁻¹(1 − 1e-3) = 3.09: 11.9 at most."""
    spent = spending([moments(str(k)) for k in range(100)])
    assert spent.epsilon < 2.6807**2 / 2 + 2.6807 * 3.0902
    assert spent.epsilon > 2.6807**2 / 2


def test_one_release_costs_what_it_says_and_the_same_draw_once() -> None:
    assert spending([moments("a")]) == spending([moments("a")] * 3) == Spending(1.0, 1e-5, 1)


@pytest.mark.parametrize(
    "other",
    [
        {"kind": "contribution", "draw": "b", "epsilon": 1.0, "delta": 1e-5, "parts": STEPS},  # DP-SGD
        {"kind": "statistics", "draw": "b", "epsilon": 1.0, "delta": 1e-5},  # Laplace
        {"draw": "b", "epsilon": 1.0, "delta": 1e-5},
    ],
)
def test_with_another_mechanism_among_them_epsilons_add_up(other: dict[str, Any]) -> None:
    assert spending([moments("a"), other]) == Spending(2.0, 2e-5, 2)


def test_the_budget_is_of_the_composed_epsilon() -> None:
    """Four of ε = 1 are 1.97 together, and a fifth makes 2.202."""
    limits = SiteLimits(epsilon=2.0)
    lines = list[dict[str, Any]]()
    wish = Statement(1.0, 1e-5)
    for name in "abcd":
        assert spend(wish, lines, name, limits, "contribution").epsilon < 2.0
        lines.append(moments(name))
    words = r"limits\.epsilon = 2: 1\.97 is spent in 4 releases, and with this one of ε = 1 it would be 2\.202"
    with pytest.raises(RefusalError, match=words):
        spend(wish, lines, "e", limits, "contribution")
    steps = Statement(1.0, 1e-5, (Part("expert", 1.0, 0.05, 600),))
    with pytest.raises(RefusalError, match="it would be 3"):
        spend(steps, [moments("a"), moments("b")], "x", limits, "contribution")


def test_at_a_budget_of_both_epsilon_is_told_at_that_delta() -> None:
    """Two of δ = 1e-5 have δ = 2e-5 together, or a larger ε at δ = 1e-5; a budget of δ alone is one of the sum."""
    lines = [moments("a")]
    wish = Statement(1.0, 1e-5)
    both = spend(wish, lines, "b", SiteLimits(epsilon=3.0, delta=1e-5), "contribution")
    assert both.delta == 1e-5
    assert both.epsilon == pytest.approx(epsilon_of(1e-5, noise_multiplier(1.0, 1e-5) / sqrt(2)))
    with pytest.raises(RefusalError, match=r"limits\.delta = 1e-05: 1e-05 is spent in 1 release, .* it would be 2e-05"):
        spend(wish, lines, "b", SiteLimits(delta=1e-5), "contribution")
