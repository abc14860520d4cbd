"""One accountant over Gaussian releases: it agrees with the exact law of one, grows with each, and meets its target."""

import math

import pytest

pytest.importorskip("opacus", reason="the privacy extra is not installed")

from mosaic_fl.errors import UsageError
from mosaic_fl.numerics.accountant import Release, Wish, calibrate, epsilon_of
from mosaic_fl.numerics.gaussian_mechanism import noise_multiplier


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 3.0, 10.0])
def test_of_one_gaussian_it_is_just_above_the_exact_epsilon(epsilon: float) -> None:
    bound = epsilon_of([Release(noise_multiplier(epsilon, 1e-5))], 1e-5)
    assert epsilon <= bound <= 1.025 * epsilon


def test_gaussians_compose_as_one_with_their_squares_added() -> None:
    """Noise 5 twice is as noise 5/√2 once: the mean of both answers has that noise."""
    assert epsilon_of([Release(5.0), Release(5.0)], 1e-5) == pytest.approx(
        epsilon_of([Release(5 / math.sqrt(2))], 1e-5), rel=0.02
    )
    assert epsilon_of([Release(5.0, 1.0, 2)], 1e-5) == pytest.approx(
        epsilon_of([Release(5.0), Release(5.0)], 1e-5), rel=0.02
    )


def test_each_further_release_costs_and_sampling_saves() -> None:
    counts = Release(20.0)
    steps = Release(1.5, 0.05, 200)
    both = epsilon_of([counts, steps], 1e-5)
    assert both > epsilon_of([steps], 1e-5) > epsilon_of([Release(1.5, 0.02, 200)], 1e-5)
    assert epsilon_of([Release(1.5, 0.05, 400)], 1e-5) > epsilon_of([steps], 1e-5)
    assert epsilon_of([counts, Release(0.0, 0.05, 200)], 1e-5) == math.inf


@pytest.mark.parametrize("epsilon", [0.5, 8.0])
def test_noise_for_a_target_meets_it_and_wastes_little(epsilon: float) -> None:
    wishes = (Wish(0.02), Wish(0.58, 0.05, 300), Wish(0.4, 0.05, 500))
    multiplier, releases = calibrate(wishes, epsilon, 1e-5)
    assert 0.96 * epsilon <= epsilon_of(releases, 1e-5) <= epsilon
    assert multiplier > 0
    assert [release.steps for release in releases] == [1, 300, 500]


def test_a_share_is_of_the_squared_budget() -> None:
    """A quarter of the budget has twice the noise of all of it."""
    assert Wish(0.25).release(3.0).noise == pytest.approx(6.0)
    # Rate r and T steps as one Gaussian: r²·T·(e^(1/σ²) − 1) = share/m².
    noise = Wish(0.5, 0.1, 100).release(2.0).noise
    assert 0.1**2 * 100 * math.expm1(1 / noise**2) == pytest.approx(0.5 / 4)


def test_a_target_out_of_reach_is_told() -> None:
    with pytest.raises(UsageError, match="networks need 0.01 at least"):
        calibrate((Wish(1.0, 0.05, 100),), 1e-3, 1e-5)
