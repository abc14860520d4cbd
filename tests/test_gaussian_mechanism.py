"""The noise of the Gaussian mechanism against published numbers, and its source."""

import math

import pytest
import torch

from mosaic_fl.numerics.gaussian_mechanism import delta_of, noise_multiplier, secure_normal

# dp-accounting 0.6.0: GaussianPrivacyLoss.from_privacy_guarantee(DifferentialPrivacyParameters(ε, δ), sensitivity=1).
PUBLISHED = {
    (0.1, 1e-5): 30.7495661335778,
    (0.5, 1e-5): 7.0318267420168326,
    (1.0, 1e-5): 3.730631664679545,
    (1.0, 1e-6): 4.224678930001968,
    (3.0, 1e-5): 1.3905934987510848,
    (8.0, 1e-5): 0.6002290725849286,
    (10.0, 1e-5): 0.49988864392129184,
}


@pytest.mark.parametrize(("epsilon", "delta"), PUBLISHED)
def test_the_noise_is_that_of_dp_accounting(epsilon: float, delta: float) -> None:
    assert noise_multiplier(epsilon, delta) == pytest.approx(PUBLISHED[epsilon, delta], rel=1e-6)


@pytest.mark.parametrize("delta", [1e-12, 1e-5, 0.01])
def test_the_noise_is_enough_and_no_thousandth_less_would_be(delta: float) -> None:
    for epsilon in (0.01, 0.3, 2.0, 30.0, 100.0):
        multiplier = noise_multiplier(epsilon, delta)
        assert delta_of(epsilon, multiplier) <= delta < delta_of(epsilon, 0.999 * multiplier)


def test_the_noise_grows_as_epsilon_falls_and_is_less_than_that_of_the_classical_bound() -> None:
    multipliers = [noise_multiplier(epsilon, 1e-5) for epsilon in (10, 3, 1, 0.5, 0.1)]
    assert multipliers == sorted(multipliers)
    assert noise_multiplier(0.5, 1e-5) < math.sqrt(2 * math.log(1.25 / 1e-5)) / 0.5  # Dwork & Roth, theorem A.1


def test_numbers_of_the_secure_source_are_standard_normal() -> None:
    drawn = secure_normal(200_000)
    assert abs(float(drawn.mean())) < 0.015  # 6.7 standard errors
    assert float(drawn.var()) == pytest.approx(1, abs=0.025)
    assert float((drawn > 1.959964).double().mean()) == pytest.approx(0.025, abs=0.0025)
    assert not torch.equal(secure_normal(5), secure_normal(5))


def test_extreme_bytes_give_finite_numbers_of_both_signs() -> None:
    least, most = (float(secure_normal(1, lambda n, byte=byte: bytes([byte]) * n)) for byte in (0, 255))
    assert least == pytest.approx(-11.95, abs=0.01)  # Φ(−11.95) = 2⁻¹⁰⁸
    assert abs(most) < 1e-9
    assert len(secure_normal(0)) == 0


def test_far_numbers_lie_closer_than_the_whole_numbers_of_a_noisy_sum() -> None:
    """At 7.3, where 2¹² steps of the coarse word remain, a neighbour of the fine word is no 10⁻⁹ away.

    Noise on squares has a deviation of about 10⁸ whole numbers: gaps of 10⁻⁸ would leave some of them out.
    """

    def near(fine: int) -> float:
        words = torch.tensor([2**12 << 1, fine << 1])
        return float(secure_normal(1, lambda n: words.numpy().tobytes()[:n]))

    assert near(0) < -7
    assert 0 < near(2**30) - near(0) < 1e-9
