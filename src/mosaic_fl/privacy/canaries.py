"""Canaries: a lower bound on ε, from how often one guesses right which of many odd samples a release has.

Steinke, Nasr & Jagielski, "Privacy Auditing with One (1) Training Run" (NeurIPS 2023). Each of many canaries is in the
data by the toss of a coin. Who sees the release guesses the tosses of those that it is surest of. Under
(ε, δ)-differential privacy a guess is right with the chance e^ε/(1 + e^ε) at most, but for δ, whoever guesses.
So too many right guesses are a proof that ε is larger than was said, as where noise was left out.
"""

import math
from collections.abc import Callable

import torch
from scipy.stats import binom
from torch import Tensor, nn

from mosaic_fl.numerics.accountant import Release
from mosaic_fl.numerics.gaussian_mechanism import Bytes
from mosaic_fl.numerics.noisy_sums import Mechanism, release
from mosaic_fl.training.private import Descent, PrivateStep, drawn, summed

CANARIES = 200
GUESSES = 80  # of them the surest: half said to be in, half out
CONFIDENCE = 0.95
MOST = 60.0  # an ε above which no bound is looked for
HALVINGS = 40


def epsilon_below(
    guesses: int, right: int, delta: float, canaries: int = CANARIES, confidence: float = CONFIDENCE
) -> float:
    """The largest ε that `right` of so many `guesses` rule out, with this confidence; 0 where they rule out none."""
    if _chance(guesses, right, 0.0, delta, canaries) > 1 - confidence:
        return 0.0
    low = 0.0
    high = MOST
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if _chance(guesses, right, middle, delta, canaries) <= 1 - confidence:
            low = middle
        else:
            high = middle
    return low


def _chance(guesses: int, right: int, epsilon: float, delta: float, canaries: int) -> float:
    """The chance of so many right guesses, or more, at most (theorem 5.2 and appendix D of the paper)."""
    fair = 1 / (1 + math.exp(-epsilon))
    lost = 0.0
    total = 0.0
    for i in range(1, right + 1):
        total += float(binom.pmf(right - i, guesses, fair))
        lost = max(lost, total / i)
    return min(1.0, float(binom.sf(right - 1, guesses, fair)) + 2 * canaries * lost * delta)


def right_guesses(scores: Tensor, tosses: Tensor, guesses: int = GUESSES) -> int:
    """How many guesses are right: the canaries with the highest `scores` (m,) in, those with the lowest out."""
    order = scores.argsort()
    half = guesses // 2
    return int((~tosses[order[:half]]).sum()) + int(tosses[order[-half:]].sum())


def moments_bound(mechanism: Mechanism, delta: float, source: Bytes, samples: int = 300) -> float:
    """The lower bound on ε of one release of class moments, whose canaries are the longest vectors, one a direction.

    Besides them there are so many `samples` of nothing. `source` makes the noise and the tosses.
    """
    tosses = _tosses(source)
    canaries = mechanism.clip * torch.eye(CANARIES)[tosses]
    vectors = torch.cat([canaries, torch.zeros(samples, CANARIES)])
    noisy = release(vectors, torch.zeros(len(vectors), dtype=torch.int64), 2, mechanism, source)
    # The sum of a canary's class and its square tell of it independently: each in units of its noise.
    _, on_sums, on_squares = mechanism.noise
    weight = [mechanism.clip**power / max(noise, 1e-9) ** 2 for power, noise in ((1, on_sums), (2, on_squares))]
    scores = weight[0] * noisy.sums[0] + weight[1] * noisy.squares.diagonal()
    return epsilon_below(GUESSES, right_guesses(scores, tosses), delta)


def steps_bound(steps: Release, delta: float, source: Bytes, samples: int = 300) -> float:
    """The lower bound on ε of DP-SGD with these `steps`, whose canaries have long gradients, one a weight.

    The network is one layer; so many other `samples` have the gradient 0. `source` makes noise, batches and tosses.
    """
    tosses = _tosses(source)
    vectors = torch.cat([2 * torch.eye(CANARIES)[tosses], torch.zeros(samples, CANARIES)])
    network = nn.Linear(CANARIES, 1, bias=False).train()
    nn.init.zeros_(network.weight)
    descent = Descent(steps, 1.0, float(len(vectors)), source)

    def loss(index: Tensor) -> Tensor:
        total: Tensor = network(vectors[index]).sum()
        return total

    with PrivateStep(network, torch.optim.SGD(network.parameters(), lr=1.0), descent) as step:
        for _ in range(steps.steps):
            step(summed(loss, step, drawn(len(vectors), steps.rate, source)))
    return epsilon_below(GUESSES, right_guesses(-network.weight.detach().flatten(), tosses), delta)


def runs_above(epsilon: float, bound: Callable[[int], float], runs: int) -> int:
    """In how many of so many `runs`, numbered from 0, the lower bound is above the `epsilon` that was said."""
    return sum(bound(run) > epsilon for run in range(runs))


def _tosses(source: Bytes) -> Tensor:
    return torch.frombuffer(bytearray(source(CANARIES)), dtype=torch.uint8) % 2 == 1
