"""The answer for one sample: its probabilities, and what may be said of the trust in them."""

from collections.abc import Iterator
from dataclasses import dataclass

from mosaic_fl.exchange.assessment import Assessment


@dataclass(frozen=True)
class Answer:
    """`probabilities` (C,); the calibrated `confidence` in the first of them and the `strangeness`, or None."""

    probabilities: tuple[float, ...] = ()
    confidence: float | None = None
    strangeness: float | None = None


NO_ANSWER = Answer()


def answers(assessment: Assessment) -> Iterator[Answer]:
    """One answer a sample, in their order."""
    probabilities = assessment.probabilities.tolist()
    nothing = [None] * len(probabilities)
    confidence = nothing if assessment.calibrated is None else assessment.confidence.tolist()
    strangeness = nothing if assessment.strangeness is None else assessment.strangeness.tolist()
    for row, sure, strange in zip(probabilities, confidence, strangeness, strict=True):
        yield Answer(tuple(row), sure, strange)
