"""What a contribution says of its differential privacy, and whether its noise bears that out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mosaic_fl.errors import UsageError
from mosaic_fl.generators.base import Generator
from mosaic_fl.generators.moments import NoisyClassMoments
from mosaic_fl.numerics.gaussian_mechanism import noise_multiplier

SLACK = 1e-5  # of the float32 in which a contribution tells its noise
MOST_EPSILON = 100.0
LEAST_DELTA = 1e-300


@dataclass(frozen=True)
class Statement:
    """A contribution is (ε, δ)-differentially private for one sample more or less at its site."""

    epsilon: float
    delta: float

    @property
    def summary(self) -> str:
        """As "ε = 1, δ = 1e-05"."""
        return f"ε = {self.epsilon:g}, δ = {self.delta:g}"

    def to_json(self) -> dict[str, float]:
        """As JSON values."""
        return {"epsilon": self.epsilon, "delta": self.delta}

    @classmethod
    def from_json(cls, value: Any) -> "Statement":
        """From JSON values that may come from anywhere; raises UsageError for anything but two numbers in range."""
        match value:
            case {"epsilon": float() | int() as epsilon, "delta": float() | int() as delta} if (
                0 < epsilon <= MOST_EPSILON and LEAST_DELTA <= delta < 1
            ):
                return cls(float(epsilon), float(delta))
        raise UsageError("its statement of privacy has no ε and δ in range")

    def check(self, parts: Sequence[Generator]) -> None:
        """Raise UsageError unless all `parts`, one at least, are noisy moments, with noise enough for ε and δ.

        The parts of the squared sensitivity that counts, sums and squares use follow from their noise. Together they
        may be 1.
        """
        noisy = [part for part in parts if isinstance(part, NoisyClassMoments)]
        if not noisy or len(noisy) < len(parts):
            raise UsageError(f"it says {self.summary}, and has no class moments with noise, or others without")
        multiplier = noise_multiplier(self.epsilon, self.delta)
        used = 0.0
        for part in noisy:
            part.check()
            clip = float(part.clip)
            deviations = zip((1.0, clip, clip**2), part.noise.double().tolist(), strict=True)
            used += sum((multiplier * unit / deviation) ** 2 for unit, deviation in deviations)
        if used > 1 + SLACK:
            raise UsageError(f"it says {self.summary}, for which its noise is too small")
