"""Noisy class moments that claim too much: no stated ε, more samples than the client, sums longer than noise makes."""

from dataclasses import replace

import pytest
import torch

from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.generators.moments import NoisyClassMoments, noisy_spec
from test_private_contribution import clouds, private


def test_noise_without_a_word_of_privacy_is_refused() -> None:
    silent = replace(private(clouds(), seed=0), privacy=None)
    with pytest.raises(UsageError, match="its class moments have noise, and it does not say for which ε and δ"):
        Contribution.from_bytes(silent.to_bytes())


def test_noisy_moments_of_more_samples_than_the_client_claims_are_refused() -> None:
    """An honest client's class counts are those of its noisy moments, so one fewer is no noise."""
    sent = private(clouds(), seed=0)
    fewer = sent.class_counts.clone()
    fewer[1] -= 1
    with pytest.raises(UsageError, match="its class counts say"):
        Contribution.from_bytes(replace(sent, class_counts=fewer).to_bytes())


def test_a_sum_is_no_longer_than_its_vectors_and_ten_deviations_beyond_the_usual_length_of_noise() -> None:
    """Of 5 vectors of the length 2, noise (1, 3, 1) and 4 numbers: 2·(5 + 10·1) + 3·(√4 + 10) = 66."""
    moments = NoisyClassMoments(noisy_spec(clouds().schema), clouds().schema)
    moments.counts[:] = 5
    moments.noise = torch.tensor([1.0, 3.0, 1.0])
    moments.clip = torch.tensor([2.0])
    moments.sums[0, 0] = 65.9
    moments.check()
    moments.sums[0, 0] = 66.1
    with pytest.raises(UsageError, match="a sum longer than all vectors"):
        moments.check()
