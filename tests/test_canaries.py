"""Canaries: the lower bound on ε stays under what is said, and exceeds it where the noise is left out."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("opacus", reason="the privacy extra is not installed")

from mosaic_fl.numerics.accountant import Wish, calibrate, epsilon_of
from mosaic_fl.numerics.gaussian_mechanism import noise_multiplier
from mosaic_fl.numerics.noisy_sums import Mechanism
from mosaic_fl.privacy.canaries import epsilon_below, moments_bound, right_guesses, runs_above, steps_bound

DELTA = 1e-5
SHARES = (0.02, 0.68, 0.3)


def test_of_guesses_that_are_all_right_the_bound_is_that_of_a_run_of_luck() -> None:
    """p⁸⁰ = 0.05 at p = e^ε/(1 + e^ε), so ε = ln p/(1 − p)."""
    p = 0.05 ** (1 / 80)
    assert epsilon_below(80, 80, 0.0) == pytest.approx(math.log(p / (1 - p)), abs=1e-6)
    assert epsilon_below(80, 80, 1e-5) < epsilon_below(80, 80, 0.0)
    assert epsilon_below(80, 40, 0.0) == 0.0
    assert 0 < epsilon_below(80, 55, 0.0) < epsilon_below(80, 70, 0.0)


def test_a_guesser_without_knowledge_rarely_proves_anything() -> None:
    """Of 2,000 tosses of 80 coins 5 % at most are a proof that ε is above 0."""
    right = np.random.default_rng(0).binomial(80, 0.5, 2000)
    bounds = {int(count): epsilon_below(80, int(count), 0.0) for count in set(right.tolist())}
    assert sum(bounds[int(count)] > 0 for count in right) <= 0.06 * 2000


def test_the_surest_are_guessed() -> None:
    scores = torch.tensor([5.0, -3.0, 0.1, 4.0, -2.0, 0.0])
    tosses = torch.tensor([True, False, False, False, False, True])
    assert right_guesses(scores, tosses, 4) == 3  # 5 in, −3 and −2 out; 4 was not in


@pytest.mark.parametrize("epsilon", [1.0, 2.0])
def test_moments_stay_under_their_epsilon_and_exceed_it_without_noise(epsilon: float) -> None:
    mechanism = Mechanism(4.0, SHARES, noise_multiplier(epsilon, DELTA))

    def bound(run: int, changed: Mechanism) -> float:
        return moments_bound(changed, DELTA, np.random.default_rng(run).bytes)

    assert runs_above(epsilon, lambda run: bound(run, mechanism), 3) == 0
    assert runs_above(epsilon, lambda run: bound(run, replace(mechanism, multiplier=0.0)), 3) == 3
    # Noise for 30 times the ε: a mistake of that size is found, too.
    weak = replace(mechanism, multiplier=noise_multiplier(30 * epsilon, DELTA))
    assert runs_above(epsilon, lambda run: bound(run, weak), 3) == 3


def test_steps_stay_under_their_epsilon_and_exceed_it_without_noise() -> None:
    _, (steps,) = calibrate((Wish(1.0, 0.1, 40),), 1.0, DELTA)
    said = epsilon_of([steps], DELTA)
    assert said <= 1.0
    assert runs_above(said, lambda run: steps_bound(steps, DELTA, np.random.default_rng(run).bytes), 2) == 0
    bare = replace(steps, noise=0.0)
    assert runs_above(said, lambda run: steps_bound(bare, DELTA, np.random.default_rng(run).bytes), 2) == 2
