"""What a contribution says of its differential privacy, and whether its noise bears that out."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mosaic_fl.errors import UsageError
from mosaic_fl.generators.base import Generator
from mosaic_fl.generators.moments import NoisyClassMoments
from mosaic_fl.numerics.gaussian_mechanism import noise_multiplier
from mosaic_fl.storage import container

SLACK = 1e-5  # of the float32 in which a contribution tells its noise
MOST_EPSILON = 100.0
LEAST_DELTA = 1e-300
MOST_PARTS = 8
MOST_STEPS = 10**9
MOST_NOISE = 1e12
LONGEST_NAME = 40
PRIVATE_FAMILY = "cvae"  # besides noisy moments: learnt by noisy steps


@dataclass(frozen=True)
class Part:
    """One release of a contribution, `of` what: `steps` times Gaussian noise on a sum of a share `rate` of samples.

    `noise` is its standard deviation in units of the largest weight of a sample.
    """

    of: str
    noise: float
    rate: float
    steps: int

    @property
    def summary(self) -> str:
        """As "expert: noise 1.28, 600 steps of a share 0.05 of the samples"."""
        steps = f", {self.steps:,} steps of a share {self.rate:g} of the samples" if self.rate < 1 else ""
        return f"{self.of}: noise {self.noise:.3g}{steps}"

    @classmethod
    def from_json(cls, value: Any) -> "Part":
        """From JSON values that may come from anywhere; raises UsageError for anything but a part."""
        match value:
            case {
                "of": str(of),
                "noise": float() | int() as noise,
                "rate": float() | int() as rate,
                "steps": steps,
            } if (
                of.isprintable()
                and len(of) <= LONGEST_NAME
                and type(steps) is int
                and 0 < noise <= MOST_NOISE
                and 0 < rate <= 1
                and 1 <= steps <= MOST_STEPS
            ):
                return cls(of, float(noise), float(rate), steps)
        raise UsageError("its statement of privacy has a part that is none")


def stated(content: bytes) -> "Statement | None":
    """What the bytes of a site's own contribution say of their privacy."""
    manifest, _ = container.unpack(content, "contribution", "its own contribution")
    return Statement.from_json(manifest["privacy"]) if "privacy" in manifest else None


@dataclass(frozen=True)
class Statement:
    """A contribution is (ε, δ)-differentially private for one sample more or less at its site.

    `parts` are its releases, where a network is among them; noisy moments alone say their noise themselves.
    """

    epsilon: float
    delta: float
    parts: tuple[Part, ...] = ()

    @property
    def summary(self) -> str:
        """As "ε = 1, δ = 1e-05"."""
        return f"ε = {self.epsilon:g}, δ = {self.delta:g}"

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        parts = {"parts": [asdict(part) for part in self.parts]} if self.parts else {}
        return {"epsilon": self.epsilon, "delta": self.delta, **parts}

    @classmethod
    def from_json(cls, value: Any) -> "Statement":
        """From JSON values that may come from anywhere; raises UsageError for anything but two numbers in range."""
        match value:
            case {"epsilon": float() | int() as epsilon, "delta": float() | int() as delta} if (
                0 < epsilon <= MOST_EPSILON and LEAST_DELTA <= delta < 1
            ):
                parts = value.get("parts", [])
                if isinstance(parts, list) and len(parts) <= MOST_PARTS:
                    return cls(float(epsilon), float(delta), tuple(map(Part.from_json, parts)))
        raise UsageError("its statement of privacy has no ε and δ in range")

    def check(self, generators: Sequence[Generator]) -> None:
        """Raise UsageError unless all `generators` can have noise, and moments among them have enough for ε and δ.

        The parts of the squared sensitivity that counts, sums and squares use follow from their noise. Together they
        may be 1. That a network learnt by noisy steps cannot be seen; there the statement is the site's word.
        """
        noisy = [generator for generator in generators if isinstance(generator, NoisyClassMoments)]
        learnt = [one for one in generators if self.parts and one.spec.family == PRIVATE_FAMILY]
        if not (noisy or self.parts) or len(noisy) + len(learnt) < len(generators):
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


def check_noise(statement: Statement | None, generators: Sequence[Generator]) -> None:
    """Raise UsageError for a statement that `generators` do not bear out, and for noise that no statement explains."""
    if statement is not None:
        statement.check(generators)
    elif any(isinstance(generator, NoisyClassMoments) for generator in generators):
        raise UsageError(
            "its class moments have noise, and it does not say for which ε and δ: let it contribute with --epsilon, or "
            "send moments without noise"
        )
