"""Canaries in 20 runs each: the lower bound on ε stays under the accountant's, and exceeds it without noise.

    OMP_NUM_THREADS=1 python benchmarks/canaries.py

Noise comes from the system's secure source, as in use.
"""

import secrets
import statistics
import time
from dataclasses import replace

from mosaic_fl.numerics.accountant import Wish, calibrate, epsilon_of
from mosaic_fl.numerics.gaussian_mechanism import noise_multiplier
from mosaic_fl.numerics.noisy_sums import Mechanism
from mosaic_fl.privacy.canaries import moments_bound, steps_bound

RUNS = 20
DELTA = 1e-5
SHARES = (0.02, 0.68, 0.3)


def main() -> None:
    """Print a line a release and ε: lower bounds with noise and without, and in how many runs they exceed ε."""
    print("release   ε said   bound: mean, most   above ε   without noise: least   above ε   seconds")
    for epsilon in (0.5, 1.0, 2.0):
        start = time.perf_counter()
        moments = Mechanism(4.0, SHARES, noise_multiplier(epsilon, DELTA))
        noisy = [moments_bound(moments, DELTA, secrets.token_bytes) for _ in range(RUNS)]
        bare = [moments_bound(replace(moments, multiplier=0.0), DELTA, secrets.token_bytes) for _ in range(RUNS)]
        tell("moments", epsilon, noisy, bare, time.perf_counter() - start)
        start = time.perf_counter()
        _, (steps,) = calibrate((Wish(1.0, 0.1, 100),), epsilon, DELTA)
        said = epsilon_of([steps], DELTA)
        noisy = [steps_bound(steps, DELTA, secrets.token_bytes) for _ in range(RUNS)]
        bare = [steps_bound(replace(steps, noise=0.0), DELTA, secrets.token_bytes) for _ in range(RUNS)]
        tell("DP-SGD", said, noisy, bare, time.perf_counter() - start)


def tell(name: str, epsilon: float, noisy: list[float], bare: list[float], seconds: float) -> None:
    """Print one line."""
    above = [sum(bound > epsilon for bound in bounds) for bounds in (noisy, bare)]
    figures = (
        f"{statistics.mean(noisy):.2f}, {max(noisy):.2f}   {above[0]}/{RUNS}   {min(bare):.2f}   {above[1]}/{RUNS}"
    )
    print(f"{name:8}  {epsilon:.2f}   {figures}   {seconds:.0f}")


if __name__ == "__main__":
    main()
